"""What the benchmarks share: the machine's description, figures with their spread, the report."""

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil

RESAMPLES = 2000

WIDE = {"avx512f": "AVX-512", "amx_tile": "AMX"}

FULL = os.environ.get("FULL") == "1"
"""Whether the sizes are the large ones, and not those that fit into twenty minutes together."""


TargetOf = Literal["ratio", "spread", "ours"]


@dataclass(frozen=True)
class Entry:
    """One claim, measured: a row of the table that all benchmarks make together.

    Attributes
    ----------
    ours, baseline:
        In `unit`, from the same run.
    ratio, spread:
        Ours to the baseline, and its 95 % interval.
    better:
        Whether a higher ratio is better, or a lower one.
    target:
        The ratio that is claimed; of `ours`, or of the worse end of `spread`, instead where
        `target_of` says so.
    """

    name: str
    ours: float
    baseline: float
    ratio: float
    spread: tuple[float, float]
    unit: str
    better: Literal["higher", "lower"]
    target: float
    target_of: TargetOf = "ratio"

    @property
    def holds(self) -> bool:
        """Whether what is claimed was measured."""
        worse = self.spread[0] if self.better == "higher" else self.spread[1]
        found = {"ratio": self.ratio, "spread": worse, "ours": self.ours}[self.target_of]
        return found >= self.target if self.better == "higher" else found <= self.target

    def row(self) -> dict[str, Any]:
        """What is written of it."""
        return {**asdict(self), "holds": self.holds}


def entry(
    name: str,
    ours: Sequence[float],
    baseline: Sequence[float],
    unit: str,
    better: Literal["higher", "lower"],
    target: float,
    target_of: TargetOf = "ratio",
) -> Entry:
    """An entry of repeated measurements in `unit`: medians, their ratio and its interval."""
    found = ratio(ours, baseline)
    return Entry(
        name,
        round(float(np.median(ours)), 3),
        round(float(np.median(baseline)), 3),
        found["ratio"],
        (found["low"], found["high"]),
        unit,
        better,
        target,
        target_of,
    )


def paired_entry(
    name: str,
    ours: Sequence[float] | np.ndarray,
    baseline: Sequence[float] | np.ndarray,
    unit: str,
    target: float,
    target_of: TargetOf = "ratio",
    groups: Sequence[int] | None = None,
) -> Entry:
    """An entry of what both ways gave for the same items, higher is better: means, their ratio.

    The interval draws items anew, those of one of the `groups` together.
    """
    low, high = interval(sums(ours, groups), sums(baseline, groups))
    return Entry(
        name,
        round(float(np.mean(ours)), 4),
        round(float(np.mean(baseline)), 4),
        round(float(np.mean(ours) / np.mean(baseline)), 3),
        (round(low, 3), round(high, 3)),
        unit,
        "higher",
        target,
        target_of,
    )


def interval(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the sum of one to that of the other, pairs drawn anew (seeded)."""
    drawn = np.random.default_rng(0).integers(0, above.size, (RESAMPLES, above.size))
    low, high = np.percentile(above[drawn].sum(1) / below[drawn].sum(1), (2.5, 97.5))
    return float(low), float(high)


def sums(values: Sequence[float] | np.ndarray, groups: Sequence[int] | None = None) -> np.ndarray:
    """The values of each group together; each for itself where there are no groups."""
    return np.asarray(values, float) if groups is None else np.bincount(groups, values)


def arguments(description: str, **switches: str) -> argparse.Namespace:
    """The options that every benchmark has, and switches of its own with what they do."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures here, too")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw them there, as SVG")
    for name, does in switches.items():
        parser.add_argument(f"--{name}", action="store_true", help=does)
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "processor": _processor(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "load_at_start": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    """The model as Linux names it, and which wide arithmetic it has: runtimes differ by that."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = told.get("flags", "").split()
    has = [name for flag, name in WIDE.items() if flag in flags]
    return " with ".join(filter(None, (told.get("model name", ""), " and ".join(has))))


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of Python and of the packages that the figures depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def figures(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile, in milliseconds."""
    return {
        "n": len(seconds),
        "median_ms": round(1000 * float(np.median(seconds)), 2),
        "p99_ms": round(1000 * float(np.percentile(seconds, 99)), 2),
    }


def ratio(claim: Sequence[float], baseline: Sequence[float]) -> dict[str, float]:
    """Ratio of the medians, and its 95 % bootstrap interval (seeded)."""
    random = np.random.default_rng(0)
    first, second = np.asarray(claim), np.asarray(baseline)
    resampled = [
        np.median(random.choice(first, first.size)) / np.median(random.choice(second, second.size))
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(resampled, (2.5, 97.5))
    value = np.median(first) / np.median(second)
    return {
        "ratio": round(float(value), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
    }


def report(
    title: str,
    results: Mapping[str, Any],
    lines: Sequence[str],
    path: Path | None,
    entries: Sequence[Entry] = (),
) -> None:
    """Print what was measured; write all of it as JSON where that was asked for."""
    print(title)
    for part in ("machine", "versions", "sizes"):
        print(f"  {part}: " + ", ".join(f"{name} {value}" for name, value in results[part].items()))
    for line in lines:
        print(f"  {line}")
    for one in entries:
        print(
            f"  {one.name}: {one.ours:g} to {one.baseline:g} {one.unit}, ratio {one.ratio:.3f} "
            f"({one.spread[0]:.3f} to {one.spread[1]:.3f}), target of {one.target_of} "
            f"{one.target:g}, {one.better} is better: {'holds' if one.holds else 'does not hold'}"
        )
    if path:
        rows = [one.row() for one in entries]
        whole = {"benchmark": title, **results, "entries": rows}
        path.write_text(json.dumps(whole, indent=2) + "\n")
