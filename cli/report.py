"""``justlens report``: what visitors clicked on, and what they looked for."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from cli.output import err, out, print_json
from pipeline.feedback import AskedFor, ClickThrough, by_position, by_source
from pipeline.settings import settings
from pipeline.stores import open_stores

DAY = 24 * 3600


def report(*, days: float, docid: str, queries: Path | None, json_output: bool) -> None:
    """Print click-through by position and source, and queries with and without clicks."""
    since = time.time() - days * DAY
    stores = open_stores(settings())
    try:
        shown = stores.events.shown(since, docid)
        clicked = stores.events.asked_for(since, docid, clicked=True)
        in_vain = stores.events.asked_for(since, docid, clicked=False)
        chosen = stores.events.queries(since) if queries else []
    finally:
        stores.close()
    if queries:
        lines = (json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in chosen)
        queries.write_text("".join(lines), encoding="utf-8")
    positions, sources = by_position(shown), by_source(shown)
    if json_output:
        print_json(
            {
                "positions": [
                    {**place._asdict(), **asdict(rate)} for place, rate in positions.items()
                ],
                "sources": [{"source": source, **asdict(rate)} for source, rate in sources.items()],
                "clicked": [asdict(one) for one in clicked],
                "in_vain": [asdict(one) for one in in_vain],
                "queries_written": len(chosen),
            }
        )
        return
    if not shown:
        out.print(f"Nothing was shown in the last {days:g} days.")
    else:
        rows = {f"{place.slot} {place.position}": rate for place, rate in positions.items()}
        out.print(_rates("position", rows), _rates("source", sources), sep="\n")
        out.print(
            _queries("clicked on for", clicked), _queries("shown in vain for", in_vain), sep="\n"
        )
    if queries:
        err.print(f"{len(chosen)} lines of queries in {queries}", highlight=False)


def _rates(name: str, rates: dict[str, ClickThrough]) -> Table:
    table = Table(name, box=None)
    for column in ("shown", "clicked", "click-through", "95 % interval"):
        table.add_column(column, justify="right")
    for key, rate in rates.items():
        table.add_row(
            key,
            str(rate.impressions),
            str(rate.clicks),
            f"{rate.rate:.1%}",
            f"{rate.low:.1%} to {rate.high:.1%}",
        )
    return table


def _queries(name: str, queries: Sequence[AskedFor]) -> Table:
    table = Table(name, "category", box=None)
    for column in ("shown", "clicked"):
        table.add_column(column, justify="right")
    for one in queries:
        table.add_row(Text(one.query), Text(one.category), str(one.impressions), str(one.clicks))
    return table
