"""``justlens retrain capture`` and ``prepare``: the data that the text model is trained on."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from cli.output import err, out, print_json, progress
from pipeline.retraining.data_card import log_card
from pipeline.retraining.prepare import prepare as prepared
from pipeline.retraining.roll import roll
from pipeline.settings import settings
from tasks.runtime import Runtime


def capture(*, json_output: bool) -> None:
    """Write the hours of queries that are over to the object store."""
    chosen = settings()
    with closing(Runtime(settings())) as here, progress() as bars:
        bar = bars.add_task("hours", total=None, note="")

        def step(hour: float) -> None:
            bars.update(bar, advance=1, note=f"{datetime.fromtimestamp(hour, UTC):%Y-%m-%d %H}:00")

        done = roll(here.stores, days=chosen.queries_days, step=step)
    if json_output:
        print_json(asdict(done))
    else:
        out.print(
            f"{done.hours} hours with {done.rows} queries and clicks written, "
            f"{done.removed} old hours removed.",
            highlight=False,
        )


def prepare(
    files: Sequence[Path], *, run: str, days: int | None, seed: int, log: bool, json_output: bool
) -> None:
    """Prepare the data of a run, and print its card."""
    with closing(Runtime(settings())) as here, progress() as bars:
        known: dict[str, Any] = {}

        def step(name: str, done: int, total: int) -> None:
            if name not in known:
                known[name] = bars.add_task(name, total=total, note="")
            bars.update(known[name], completed=done)

        champion = here.champion()
        folder = prepared(
            here.stores,
            here.settings,
            champion.pieces,
            encoder=champion.identity,
            run=run,
            days=days,
            files=files,
            seed=seed,
            step=step,
        )
    card = json.loads((folder / "data" / "card.json").read_text(encoding="utf-8"))
    logged = log_card(card, here.settings) if log else ""
    if json_output:
        print_json({"folder": str(folder), "mlflow_run": logged, **card})
        return
    _show(card)
    err.print(f"For `justlens retrain run`: {folder / 'data'}", highlight=False)


def _show(card: dict[str, Any]) -> None:
    out.print(
        f"{card['queries']} different queries, asked {card['asked']} times; "
        f"{card['near_copies']['groups']} groups of near copies; "
        f"{card['oov_terms']['oov']} of {card['oov_terms']['different']} terms out of vocabulary.",
        highlight=False,
    )
    if card["dropped"]:
        told = ", ".join(f"{count} {reason}" for reason, count in card["dropped"].items())
        out.print(f"Dropped: {told}.", highlight=False)
    strata = Table("queries", *card["parts"], box=None)
    for name, counts in card["strata"].items():
        strata.add_row(name, *(str(count) for count in counts.values()))
    strata.add_section()
    strata.add_row("rows", *(str(part["rows"]) for part in card["parts"].values()))
    out.print(strata)
