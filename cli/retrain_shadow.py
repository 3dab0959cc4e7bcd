"""``justlens retrain shadow``: how a challenger does in the champion's shadow."""

import time
from dataclasses import asdict
from pathlib import Path

import typer
from rich.table import Table

from api.wiring import Services
from cli.output import err, out, print_json, progress
from pipeline.errors import JustLensError
from pipeline.retraining.shadow import Pair, pair_of
from pipeline.retraining.traffic import (
    Asked,
    businesses_needed,
    lately,
    of_file,
    portions,
    questions,
    replay,
)
from pipeline.retraining.verdict import Latency, Verdict, verdict
from pipeline.settings import settings

DAY = 24 * 3600
SAVED_AT_ONCE = 20

NAMES = {
    "agreement": "same first picture",
    "psi": "population stability index",
    "ks": "Kolmogorov-Smirnov",
    "errors": "errors",
    "latency": "median latency, ratio",
}


def shadow(
    *, replay: Path | None, last_days: float | None, requests: int | None, json_output: bool
) -> None:
    """Print the verdict, after a replay if one is asked for; exit status 1 where it is ``fail``."""
    if replay and last_days is not None:
        raise JustLensError("give --replay or --last-days, not both")
    services = Services(settings())
    try:
        found = _verdict(services, replay, last_days, requests)
    finally:
        services.close()
    pair, outcome = found
    if json_output:
        print_json({"champion": pair[0], "challenger": pair[1], **asdict(outcome)})
    else:
        _show(*pair, outcome)
    if outcome.outcome == "fail":
        raise typer.Exit(1)


def _verdict(
    services: Services, file: Path | None, last_days: float | None, requests: int | None
) -> tuple[tuple[str, str], Verdict]:
    """The two models, and the verdict on the second."""
    records = services.stores.shadow
    pair = pair_of(services.serving, services.servings.challenger())
    if file or last_days is not None:
        if pair is None:
            raise JustLensError("there is no challenger to ask")
        since = time.time() - (last_days or 0) * DAY
        asked = of_file(file) if file else lately(services.stores, since)
        _replay(services, pair, asked, requests or services.settings.shadow_least)
    if pair is not None:
        models = pair.champion, pair.challenger
    elif latest := records.pairs():
        models = latest[0].champion, latest[0].challenger
    else:
        raise JustLensError("there is no challenger, and none was compared")
    return models, verdict(records.comparisons(*models), services.settings)


def _replay(services: Services, pair: Pair, asked: Asked, most: int) -> None:
    if not asked:
        raise JustLensError("there are no queries to replay")
    documents = services.stores.documents
    everyone = documents.search_businesses("", limit=businesses_needed(asked, most))
    chosen = list(questions(asked, [one.docid for one in everyone], most))
    if len(chosen) < most:
        err.print(
            f"There are no more than {len(chosen)} different questions: {len(asked)} queries of "
            f"{len(everyone)} businesses. --replay asks those of a file.",
            highlight=False,
        )
    services.warm_up()
    comparisons = replay(chosen, lambda question: services.serving.page(**question.options()), pair)
    with progress() as bars:
        bar = bars.add_task("questions", total=len(chosen), note=pair.challenger)
        for some in portions(comparisons, SAVED_AT_ONCE):
            services.stores.shadow.save(some)
            bars.advance(bar, len(some))


def _show(champion: str, challenger: str, outcome: Verdict) -> None:
    out.print(f"champion {champion}, challenger {challenger}", highlight=False)
    out.print(f"{outcome.comparisons} comparisons, verdict: [bold]{outcome.outcome}[/]")
    table = Table("", "figure", "limit", "", box=None)
    for check in outcome.checks:
        value = "" if check.value is None else f"{check.value:.3f}"
        kept = "kept" if check.passed else "[red]not kept[/]"
        if check.may_be_chance:
            kept = "may be chance"
        table.add_row(NAMES[check.name], value, f"{check.limit:g}", kept)
    out.print(table)
    if outcome.agreement and outcome.overlap:
        one, other = outcome.agreement, outcome.overlap
        out.print(
            f"95 % intervals: same first picture {one.low:.3f} to {one.high:.3f}, "
            f"rank-biased overlap {other.mean:.3f} ({other.low:.3f} to {other.high:.3f})",
            highlight=False,
        )
    if outcome.drift:
        out.print(
            f"could be chance: population stability index {outcome.drift.psi_words}, "
            f"Kolmogorov-Smirnov {outcome.drift.ks_words}",
            highlight=False,
        )
    out.print(
        f"latency, median and p99: champion {_latency(outcome.champion_latency)}, "
        f"challenger {_latency(outcome.challenger_latency)}",
        highlight=False,
    )
    for reason in outcome.reasons:
        out.print(f"- {reason}", highlight=False, markup=False)


def _latency(found: Latency | None) -> str:
    return f"{1000 * found.median:.1f} and {1000 * found.p99:.1f} ms" if found else "unknown"
