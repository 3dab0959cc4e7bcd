"""Whether a challenger that was asked in the champion's shadow may take its place."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.retraining.comparison import Comparison, Likeness
from pipeline.retraining.drift import (
    kolmogorov_smirnov,
    population_stability,
    population_stability_p,
)
from pipeline.settings import Settings

Outcome = Literal["pass", "fail", "wait"]

RESAMPLES = 1000
SEED = 7


@dataclass(frozen=True)
class Interval:
    """A share, 0..1, with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Drift:
    """How far the scores of first pictures have drifted.

    Attributes:
        psi: population stability index.
        psi_p: its p-value.
        ks: Kolmogorov-Smirnov statistic, 0..1.
        ks_p: its p-value.
    """

    psi: float
    psi_p: float
    ks: float
    ks_p: float

    @property
    def psi_words(self) -> str:
        """The index's p-value."""
        return _p_words(self.psi_p)

    @property
    def ks_words(self) -> str:
        """The statistic's p-value."""
        return _p_words(self.ks_p)


@dataclass(frozen=True)
class Latency:
    """Of answers, in seconds."""

    median: float
    p99: float


@dataclass(frozen=True)
class Check:
    """A figure that is held against a limit.

    Attributes:
        value: none: there was nothing to count.
        limit: what it may not fall below (agreement) or rise above (the others).
        words: the same as a sentence.
    """

    name: Literal["agreement", "psi", "ks", "errors", "latency"]
    value: float | None
    limit: float
    passed: bool
    words: str

    @property
    def may_be_chance(self) -> bool:
        """Whether a drift passes that is above its limit, for it is not significant."""
        is_drift = self.name in ("psi", "ks")
        return is_drift and self.passed and (self.value or 0) > self.limit


@dataclass(frozen=True)
class Verdict:
    """What comparisons say of a challenger. Figures are none where there was nothing to count.

    Attributes:
        outcome: ``wait``: there are too few to say so.
        reasons: why it is not ``pass``.
        comparisons: how many, failed ones included.
        failed: how many of them by the name of the error.
        agreement: share of businesses with the same first picture.
        overlap: mean rank-biased overlap of their orders.
        drift: of scores.
        champion_latency: of its answers to what the challenger answered, too.
        challenger_latency: of those.
        checks: what is held against a limit, in one order.
    """

    outcome: Outcome
    reasons: list[str]
    comparisons: int
    failed: Mapping[str, int]
    agreement: Interval | None
    overlap: Interval | None
    drift: Drift | None
    champion_latency: Latency | None
    challenger_latency: Latency | None
    checks: list[Check]


def verdict(comparisons: Sequence[Comparison], settings: Settings) -> Verdict:
    """Passes a challenger that keeps every limit, once there are enough comparisons.

    Args:
        comparisons: of one champion and one challenger.
        settings: the limits, ``shadow_*``.
    """
    answered = [(one, one.likeness) for one in comparisons if one.likeness]
    ours, theirs = scores(comparisons)
    failed = Counter(one.error for one in comparisons if one.error)
    agreement = _interval(answered, lambda like: like.same_top)
    drift = _drift(ours, theirs)
    champion = _latency([one.champion_seconds for one, _ in answered])
    challenger = _latency([one.challenger_seconds for one, _ in answered])
    checks = [
        _agreement_check(agreement, settings.shadow_agreement),
        *_drift_checks(drift, len(ours) == len(theirs) == 0, settings),
        _errors_check(failed.total(), len(comparisons), settings.shadow_errors),
        _latency_check(champion, challenger, settings.shadow_latency),
    ]
    reasons = [check.words for check in checks if not check.passed]
    outcome: Outcome = "fail" if reasons else "pass"
    if len(comparisons) < settings.shadow_least:
        outcome = "wait"
        reasons = [f"{len(comparisons)} of at least {settings.shadow_least} comparisons so far"]
    return Verdict(
        outcome=outcome,
        reasons=reasons,
        comparisons=len(comparisons),
        failed=failed,
        agreement=agreement,
        overlap=_interval(answered, lambda like: like.overlap * like.businesses),
        drift=drift,
        champion_latency=champion,
        challenger_latency=challenger,
        checks=checks,
    )


def scores(comparisons: Sequence[Comparison]) -> tuple[np.ndarray, np.ndarray]:
    """Those of first pictures, 0..1: the champion's (N,) and the challenger's (M,).

    A pair of answers that was given again and again, to whatever query, is counted once: it says
    nothing new.
    """
    pairs = [
        (one.likeness.champion_scores, one.likeness.challenger_scores)
        for one in comparisons
        if one.likeness
    ]
    answers = list(dict.fromkeys(pairs))
    return (
        np.array([score for champion, _ in answers for score in champion]),
        np.array([score for _, challenger in answers for score in challenger]),
    )


def _interval(
    answered: Sequence[tuple[Comparison, Likeness]], of: Callable[[Likeness], float]
) -> Interval | None:
    """What ``of`` sums up to, by business, with a bootstrap interval over queries.

    The answers to a query resemble each other and are drawn together: C. A. Field and A. H. Welsh
    2007, "Bootstrapping clustered data", JRSS B 69 (3).
    """
    sums: dict[str, np.ndarray] = {}
    for one, like in answered:
        drawn_with = one.query or one.question
        sums[drawn_with] = sums.get(drawn_with, 0) + np.array([of(like), like.businesses])
    totals = np.array([total for total in sums.values() if total[1]])
    if not len(totals):
        return None
    random = np.random.default_rng(SEED)
    drawn = [
        totals[random.integers(len(totals), size=len(totals))].sum(axis=0) for _ in range(RESAMPLES)
    ]
    means = [float(some / all_of_them) for some, all_of_them in drawn]
    low, high = np.quantile(means, [0.025, 0.975])
    some, all_of_them = totals.sum(axis=0)
    return Interval(float(some / all_of_them), float(low), float(high))


def _drift(ours: np.ndarray, theirs: np.ndarray) -> Drift | None:
    if not len(ours) or not len(theirs):
        return None
    psi = population_stability(ours, theirs)
    psi_p = population_stability_p(psi, len(ours), len(theirs))
    return Drift(psi, psi_p, *kolmogorov_smirnov(ours, theirs))


def _p_words(p: float) -> str:
    """No more exact than it is known."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _latency(seconds: Sequence[float]) -> Latency | None:
    return Latency(*map(float, np.quantile(seconds, [0.5, 0.99]))) if seconds else None


def _agreement_check(agreement: Interval | None, limit: float) -> Check:
    if agreement is None:
        return Check("agreement", None, limit, False, "no business has a picture to compare")
    words = (
        f"the first picture is the same for {agreement.mean:.1%} of the businesses, 95 % interval "
        f"{agreement.low:.1%} to {agreement.high:.1%}; all of it is to lie above {limit:.1%}"
    )
    return Check("agreement", agreement.mean, limit, agreement.low >= limit, words)


def _drift_checks(drift: Drift | None, nothing_is_scored: bool, settings: Settings) -> list[Check]:
    psi, ks = settings.shadow_psi, settings.shadow_ks
    if drift is None:
        words = "no first picture is scored" if nothing_is_scored else "only one of the two scores"
        return [
            Check("psi", None, psi, nothing_is_scored, words),
            Check("ks", None, ks, nothing_is_scored, words),
        ]
    chance = settings.shadow_drift_p
    significant = f"significant below {chance:g}"
    return [
        Check(
            "psi",
            drift.psi,
            psi,
            drift.psi <= psi or drift.psi_p >= chance,
            f"the scores' population stability index is {drift.psi:.3f} ({drift.psi_words}, "
            f"{significant}); at most {psi:g} is wanted",
        ),
        Check(
            "ks",
            drift.ks,
            ks,
            drift.ks <= ks or drift.ks_p >= chance,
            f"the scores' Kolmogorov-Smirnov statistic is {drift.ks:.3f} ({drift.ks_words}, "
            f"{significant}); at most {ks:g} is wanted",
        ),
    ]


def _errors_check(failed: int, comparisons: int, limit: float) -> Check:
    share = failed / comparisons if comparisons else 0.0
    words = f"{failed} of {comparisons} answers failed ({share:.1%}); at most {limit:.1%} may"
    return Check("errors", share, limit, share <= limit, words)


def _latency_check(champion: Latency | None, challenger: Latency | None, limit: float) -> Check:
    if champion is None or challenger is None:
        return Check("latency", None, limit, False, "the challenger has not answered yet")
    ratio = challenger.median / champion.median
    words = (
        f"the median answer takes {1000 * challenger.median:.1f} ms, {ratio:.2f} times the "
        f"champion's; at most {limit:g} times is wanted"
    )
    return Check("latency", ratio, limit, ratio <= limit, words)
