"""What the benchmarks share: the machine's description, figures with their spread, the report."""

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

RESAMPLES = 2000


def arguments(description: str) -> argparse.Namespace:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures here, too")
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "architecture": platform.machine(),
        "system": platform.system(),
        "load_at_start": round(os.getloadavg()[0], 1),
    }


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


def report(title: str, results: Mapping[str, Any], lines: Sequence[str], path: Path | None) -> None:
    """Print what was measured; write all of it as JSON where that was asked for."""
    print(title)
    for part in ("machine", "versions", "sizes"):
        print(f"  {part}: " + ", ".join(f"{name} {value}" for name, value in results[part].items()))
    for line in lines:
        print(f"  {line}")
    if path:
        path.write_text(json.dumps({"benchmark": title, **results}, indent=2) + "\n")
