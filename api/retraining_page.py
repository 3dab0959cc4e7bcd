"""The page of retraining for people: champion against challenger, the shadow, what was decided.

The server renders all of it, plots included; there is no script.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.html import TEMPLATES, render
from api.plots import BarPlot, CurvePlot, Range, bar_plot, curve_plot, range_plot
from api.problems import retry_after, status_of
from api.wiring import Services, ServicesOf
from pipeline.errors import JustLensError
from pipeline.retraining.comparison import Comparison
from pipeline.retraining.drift import binned
from pipeline.retraining.history import Metric, Trial, trials
from pipeline.retraining.verdict import Check, Interval, Latency, Verdict, scores, verdict
from pipeline.settings import Settings
from pipeline.stores.shadow import Compared
from pipeline.text_spaces import TextSpaces, text_spaces

CHECKS = {
    "agreement": ("Same first picture", "Share of businesses, with its 95 % interval"),
    "psi": ("Drift of scores: PSI", "Population stability index"),
    "ks": ("Drift of scores: KS", "Kolmogorov-Smirnov statistic"),
    "errors": ("Errors", "Share of the challenger's answers"),
    "latency": ("Latency", "Median, in times of the champion's"),
}
GUARDS = {
    "sts_spearman": "STS, Spearman correlation",
    "sts_pearson": "STS, Pearson correlation",
    "sts_squared_error": "STS, squared error",
    "paraphrase_f1": "Paraphrases, F1",
    "msmarco_mrr_at_10": "MS MARCO, MRR@10",
}
OUTCOMES = {
    "pass": ("is-good", "It may serve"),
    "fail": ("is-bad", "It may not serve"),
    "wait": ("is-warn", "Not enough yet"),
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Timed:
    """The latency of one model, in seconds, and as shares of the slowest figure in per cent."""

    name: str
    latency: Latency
    median: float
    p99: float


@dataclass(frozen=True)
class Shadowed:
    """What the page shows of two models in the shadow.

    Attributes:
        pair: the models, and how many comparisons there are.
        is_over: whether the challenger is none any more.
        least: comparisons that are needed.
        agreement: as a range of 0 to 1.
        bars: shares of scores by the champion's bins; none: nothing is scored.
        curves: their distributions.
    """

    pair: Compared
    is_over: bool
    verdict: Verdict
    least: int
    agreement: Range | None
    bars: BarPlot | None
    curves: CurvePlot | None
    latencies: Sequence[Timed]


@dataclass(frozen=True)
class Compare:
    """A row of champion against challenger.

    Attributes:
        gain: as a range around nothing; none: there is no interval.
    """

    metric: Metric
    gain: Range | None


class State(NamedTuple):
    """A word for what a model is, and the class of its colour."""

    colour: str
    word: str


@router.get("/retraining", response_class=HTMLResponse)
def retraining(request: Request, services: ServicesOf) -> HTMLResponse:
    """The whole page."""
    status, trouble = HTTPStatus.OK, ""
    history: list[Trial] = []
    shadow, spaces = None, TextSpaces()
    try:
        history = trials(services.stores.documents)
        spaces = text_spaces(services.stores.documents)
        shadow = _shadow(services)
    except JustLensError as error:
        status, trouble = status_of(error), str(error)
    context = {
        "history": [(one, state(one, spaces)) for one in history],
        "spaces": spaces,
        "own_model": services.text_encoder.identity,
        "rows": compare(history[0]) if history else [],
        "shadow": shadow,
        "share": services.settings.shadow_share,
        "trouble": trouble,
        "check_names": CHECKS,
        "outcomes": OUTCOMES,
    }
    return render(request, services, "retraining.html", context, status, retry_after(status))


def _shadow(services: Services) -> Shadowed | None:
    records = services.stores.shadow
    latest = next(iter(records.pairs()), None)
    if latest is None:
        return None
    challenger = services.servings.challenger()
    is_over = challenger is None or challenger.text_model != latest.challenger
    comparisons = records.comparisons(latest.champion, latest.challenger)
    return shadowed(latest, comparisons, services.settings, is_over)


def shadowed(
    pair: Compared, comparisons: Sequence[Comparison], settings: Settings, is_over: bool
) -> Shadowed:
    """What is shown of two models."""
    found = verdict(comparisons, settings)
    ours, theirs = scores(comparisons)
    has_scores = bool(len(ours) and len(theirs))
    agreement = found.agreement
    return Shadowed(
        pair=pair,
        is_over=is_over,
        verdict=found,
        least=settings.shadow_least,
        agreement=_share_range(agreement, settings.shadow_agreement) if agreement else None,
        bars=bar_plot(binned(ours, theirs)) if has_scores else None,
        curves=curve_plot(ours, theirs) if has_scores else None,
        latencies=_timed(found),
    )


def state(trial: Trial, spaces: TextSpaces) -> State:
    """What a model is by now: the space of a version is named like it."""

    def is_in(space: str | None) -> bool:
        return space is not None and space.partition(".")[0] == trial.challenger

    if is_in(spaces.serving):
        return State("is-good", "serves")
    if is_in(spaces.challenger):
        return State("is-busy", "challenger")
    if is_in(spaces.previous):
        return State("", "served before")
    return State("", "given up") if trial.promoted else State("is-bad", "not promoted")


def compare(trial: Trial) -> list[Compare]:
    """The figures of a trial, the primary one first."""
    ordered = sorted(trial.metrics, key=lambda one: one.role != "primary")
    return [Compare(one, _gain_range(one)) for one in ordered]


def _share_range(share: Interval, limit: float) -> Range:
    return range_plot(share.low, share.mean, share.high, limit, span=(0.0, 1.0))


def _gain_range(metric: Metric) -> Range | None:
    if metric.gain is None or metric.low is None or metric.high is None:
        return None
    return range_plot(metric.low, metric.gain, metric.high, metric.least_gain)


def _timed(found: Verdict) -> list[Timed]:
    both = {"Champion": found.champion_latency, "Challenger": found.challenger_latency}
    known = {name: latency for name, latency in both.items() if latency}
    most = max((latency.p99 for latency in known.values()), default=0.0) or 1.0
    return [
        Timed(name, one, round(100 * one.median / most, 1), round(100 * one.p99 / most, 1))
        for name, one in known.items()
    ]


def _measured(value: float | None, unit: str) -> str:
    if value is None:
        return "\u2013"
    return f"{value:.1f}\u202fms" if unit == "ms" else f"{value:.3f}"


def _per_cent(value: float) -> str:
    return f"{100 * value:.1f}\u202f%"


def _signed(value: float) -> str:
    """A relative gain."""
    return f"{100 * value:+.1f}\u202f%".replace("-", "\u2212")


def _checked(check: Check) -> str:
    if check.value is None:
        return "\u2013"
    if check.name in ("agreement", "errors"):
        return _per_cent(check.value)
    return f"{check.value:.2f}\u00d7" if check.name == "latency" else f"{check.value:.3f}"


def _limit(check: Check) -> str:
    bound = "at least" if check.name == "agreement" else "at most"
    if check.name in ("agreement", "errors"):
        return f"{bound} {100 * check.limit:g}\u202f%"
    return f"{bound} {check.limit:g}" + ("\u00d7" if check.name == "latency" else "")


TEMPLATES.env.filters.update(
    metric_name=lambda name: GUARDS.get(name, name),
    measured=_measured,
    per_cent=_per_cent,
    signed=_signed,
    checked=_checked,
    check_limit=_limit,
)
