"""``justlens setup``: what the servers of an installation need, made or brought up to date."""

from collections.abc import Callable, Iterator
from dataclasses import fields

import typer

from cli.output import out, print_json
from pipeline.errors import JustLensError
from pipeline.graph import Sender
from pipeline.settings import Settings, settings
from pipeline.stores import open_stores

STEPS = {
    "documents": "collections and indexes",
    "directory": "tables, by migrations",
    "objects": "the bucket",
    "vectors": "collections and indexes",
    "broker": "exchanges and queues",
}


def setup(*, json_output: bool) -> None:
    """Exit status 1 when one of them could not be prepared; safe to repeat."""
    results = {}
    for name, step in steps(settings()):
        try:
            step()
            results[name] = {"ok": True, "detail": STEPS[name]}
        except (JustLensError, OSError) as error:
            results[name] = {"ok": False, "detail": str(error)}
        if not json_output:
            mark = "[green]ready[/] " if results[name]["ok"] else "[red]failed[/]"
            out.print(f"{mark} [bold]{name:9}[/] {results[name]['detail']}", highlight=False)
    if json_output:
        print_json(results)
    if not all(result["ok"] for result in results.values()):
        raise typer.Exit(1)


def steps(chosen: Settings) -> Iterator[tuple[str, Callable[[], None]]]:
    """Each server by its part's name, and what prepares it."""
    stores = open_stores(chosen)
    for field in fields(stores):
        yield field.name, getattr(stores, field.name).prepare
    yield "broker", Sender().prepare
    stores.close()
