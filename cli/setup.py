"""``justlens setup``: what the servers of an installation need, made or brought up to date."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from typing import Any

import typer

from cli.output import out, print_json
from pipeline.broker import EmbeddedBroker
from pipeline.errors import JustLensError
from pipeline.graph import Sender
from pipeline.settings import Settings, settings
from pipeline.stores import open_stores


def setup(*, json_output: bool) -> None:
    """Exit status 1 when one of them could not be prepared; safe to repeat."""
    results = {}
    for name, prepare in steps(settings()):
        try:
            results[name] = {"ok": True, "detail": prepare()}
        except (JustLensError, OSError) as error:
            results[name] = {"ok": False, "detail": str(error)}
        if not json_output:
            mark = "[green]ready[/] " if results[name]["ok"] else "[red]failed[/]"
            out.print(f"{mark} [bold]{name:9}[/] {results[name]['detail']}", highlight=False)
    if json_output:
        print_json(results)
    if not all(result["ok"] for result in results.values()):
        raise typer.Exit(1)


def steps(chosen: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """Each server by its part's name, and what prepares it and returns what it is."""
    stores = open_stores(chosen)
    for field in fields(stores):
        yield field.name, partial(_prepare, getattr(stores, field.name))
    yield "broker", partial(_prepare_broker, chosen)
    stores.close()


def _prepare(store: Any) -> str:
    store.prepare()
    return str(store.version())


def _prepare_broker(chosen: Settings) -> str:
    if EmbeddedBroker.is_at(chosen.broker_url, chosen):
        return "embedded, it starts with `justlens up` or a worker"
    sender = Sender()
    sender.prepare()
    return sender.broker()
