"""What commands print: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

out = Console()
err = Console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def fail(message: str) -> None:
    """An error for people, on standard error."""
    err.print(f"[bold red]error:[/] {message}", highlight=False)


def progress() -> Progress:
    """A progress bar on standard error, so that standard output stays clean."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=err,
    )


@contextmanager
def counting(totals: Mapping[str, int] | None = None) -> Iterator[Callable[[str, int], None]]:
    """Counts on a terminal how far each part of some work is.

    Args:
        totals: how much there is of a part, where that is known before.
    """
    with progress() as bars:
        known = {}

        def step(name: str, count: int) -> None:
            if name not in known:
                total = (totals or {}).get(name)
                known[name] = bars.add_task(name.replace("_", " "), total=total, note="")
            bars.advance(known[name], count)

        yield step
