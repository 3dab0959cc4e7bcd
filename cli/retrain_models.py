"""``justlens retrain status``, ``promote`` and ``export``: the models in the registry."""

import time
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from cli.output import out, print_json
from pipeline.retraining.registry import Version, open_registry
from pipeline.settings import settings

SHOWN = {
    "mrr_at_10": "MRR@10",
    "sts_spearman": "STS",
    "paraphrase_f1": "F1",
    "latency_ms": "ms",
}


def status(*, json_output: bool) -> None:
    """Versions with their aliases, figures and what was decided of them."""
    versions = open_registry(settings()).versions()
    if json_output:
        print_json([asdict(version) for version in versions])
        return
    if not versions:
        out.print("No text model is registered yet; `justlens retrain run` makes the first.")
        return
    table = Table(box=None)
    for column in ("version", "is", "made (UTC)", *SHOWN.values()):
        table.add_column(column, no_wrap=True)
    for version in versions:
        table.add_row(
            str(version.number),
            ", ".join(version.aliases),
            time.strftime("%Y-%m-%d %H:%M", time.gmtime(version.made_at)),
            *(_figure(version, name) for name in SHOWN),
        )
    out.print(table)
    for version in versions:
        if version.events:
            out.print(f"{version.number}: {_last_event(version)}", highlight=False, markup=False)


def promote(version: str, *, by: str, reason: str, json_output: bool) -> None:
    """Make a version the challenger whatever the rule says of it."""
    registry = open_registry(settings())
    promoted = registry.override(registry.version(version).number, by, reason)
    if json_output:
        print_json(asdict(promoted))
        return
    out.print(
        f"Version {promoted.number} is the challenger, by {by}; `retrain reembed` is next.",
        highlight=False,
        markup=False,
    )


def export(target: Path, *, version: str, onnx: bool, json_output: bool) -> None:
    """Copy a model out of the registry."""
    registry = open_registry(settings())
    number = registry.version(version).number
    (registry.onnx if onnx else registry.model)(number, target)
    if json_output:
        print_json({"version": number, "folder": str(target.absolute())})
        return
    out.print(f"Version {number} lies in {target}.", highlight=False, markup=False)


def _figure(version: Version, name: str) -> str:
    value = version.metrics.get(name)
    return "" if value is None else f"{value:.4g}"


def _last_event(version: Version) -> str:
    event = version.events[-1]
    verdict = {True: ": promoted", False: ": refused", None: ""}[event.get("promoted")]
    by = f" by {event['by']}" if event.get("by") else ""
    return f"{event['event']}{verdict}{by}; {'; '.join(event['reasons'][:1])}"
