"""``sbert_retraining``: what beat sends for the text model; see ``pipeline.retraining``."""

import json
import time
from dataclasses import asdict
from typing import Any

from tasks.jobs import Job
from tasks.runtime import Runtime, runtime

# What these steps import takes long, and every worker imports this module: hence in their runs.


class Capture(Job):
    """Writes the hours that are over to the object store; beat calls it every hour."""

    name = "retraining_capture"

    def work(self) -> dict[str, Any]:
        """Returns how many hours and rows were written, and how many old hours removed."""
        from pipeline.retraining.roll import roll

        here = runtime()
        return asdict(roll(here.stores, days=here.settings.queries_days))


class Prepare(Job):
    """Prepares the data of a run by itself; a night of retraining begins with the same."""

    name = "retraining_prepare"

    def work(self, run: str = "") -> dict[str, Any]:
        """Returns the run and its rows. One run a day: a second message finds it done."""
        from pipeline.retraining.assembly import NothingToPrepare

        run = run or time.strftime("%Y%m%d", time.gmtime())
        try:
            card = prepared(runtime(), run)
        except NothingToPrepare as error:
            return {"run": "", "detail": str(error)}
        return {"run": run, "rows": {name: part["rows"] for name, part in card["parts"].items()}}


def prepared(here: Runtime, run: str) -> dict[str, Any]:
    """Prepare the data of a run; returns its card, which MLflow has by then.

    Raises:
        NothingToPrepare: nobody has searched for anything yet.
    """
    from pipeline.retraining.data_card import log_card
    from pipeline.retraining.prepare import prepare

    champion = here.champion()
    folder = prepare(
        here.stores, here.settings, champion.pieces, encoder=champion.identity, run=run
    )
    card = json.loads((folder / "data" / "card.json").read_text(encoding="utf-8"))
    log_card(card, here.settings)
    return card
