"""Whether a challenger becomes the champion: a rule over what was measured of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 7

_AT_ONCE = 100

SMALLER_IS_BETTER = frozenset({"sts_squared_error"})


@dataclass(frozen=True)
class Measured:
    """What was measured of a model on the serving runtime.

    Attributes:
        reciprocal_ranks: of each query of the slice whose terms are out of vocabulary, in its
            order; their mean is the primary metric.
        guards: figures that must not become worse, by name.
        latency_ms: median for encoding 128 sentences.
        defect: why the model could not be measured; empty: it could.
    """

    reciprocal_ranks: Sequence[float] = ()
    guards: Mapping[str, float] = field(default_factory=dict)
    latency_ms: float = float("nan")
    defect: str = ""

    @property
    def mrr(self) -> float:
        """MRR@10, 0..1; not a number where there is no query."""
        return float(np.mean(self.reciprocal_ranks)) if len(self.reciprocal_ranks) else np.nan


@dataclass(frozen=True)
class Rule:
    """What a promotion asks for.

    Attributes:
        gain: least relative gain of the primary metric over the champion's best.
        latency_limit_ms: most that the challenger's latency may be.
        tolerances: how much worse each guard may be than the champion's; absent: not at all.
    """

    gain: float
    latency_limit_ms: float
    tolerances: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What was decided, and why.

    Attributes:
        gain: relative gain of the primary metric over the champion's best; none: unknown.
        interval: its 95 % bootstrap interval over the queries, against the champion as measured.
        reasons: a sentence for each condition; those that were not met come first.
        met: whether each condition was: ``mrr``, ``latency`` and the names of the guards.
    """

    promoted: bool
    gain: float | None
    interval: tuple[float, float] | None
    reasons: tuple[str, ...]
    met: Mapping[str, bool] = field(default_factory=dict)


def decide(
    champion: Measured, challenger: Measured, rule: Rule, best: float | None = None
) -> Decision:
    """Apply the rule; what is not a number meets no condition.

    Args:
        champion: measured on the same data, at the same time, as the challenger.
        best: the highest primary metric that any champion had on the same queries before.
    """
    if challenger.defect:
        return Decision(False, None, None, (challenger.defect,))
    if champion.defect:
        return Decision(False, None, None, (f"the champion: {champion.defect}",))
    if not len(champion.reciprocal_ranks) == len(challenger.reciprocal_ranks) > 0:
        reason = "no query has enough terms out of vocabulary: there is nothing to decide by"
        return Decision(False, None, None, (reason,))
    to_beat = max(champion.mrr, best or 0.0)
    gain = challenger.mrr / to_beat - 1 if to_beat else float(np.inf if challenger.mrr else 0)
    interval = gain_interval(champion.reciprocal_ranks, challenger.reciprocal_ranks)
    checks = {
        "mrr": _gain(challenger.mrr, to_beat, gain, interval, rule),
        "latency": _latency(challenger, rule),
        **{name: _guard(name, champion, challenger, rule) for name in sorted(champion.guards)},
    }
    # False sorts first.
    reasons = tuple(reason for _, reason in sorted(checks.values(), key=lambda check: check[0]))
    met = {name: is_met for name, (is_met, _) in checks.items()}
    known = gain if np.isfinite(gain) else None
    return Decision(all(met.values()), known, interval, reasons, met)


def gain_interval(
    champion: Sequence[float], challenger: Sequence[float]
) -> tuple[float, float] | None:
    """The 95 % interval of the relative gain of the mean, by the paired bootstrap.

    Queries are drawn anew, with repetition, both models' answers to them together (Efron 1979;
    Sakai 2006 on retrieval). None where the champion finds nothing.
    """
    before, after = np.asarray(champion, dtype=float), np.asarray(challenger, dtype=float)
    if not before.mean() > 0 or not np.isfinite(after).all():
        return None
    random = np.random.default_rng(SEED)
    gains = []
    for _ in range(RESAMPLES // _AT_ONCE):
        drawn = random.integers(len(before), size=(_AT_ONCE, len(before)))
        means = before[drawn].mean(axis=1)
        gains.append(after[drawn].mean(axis=1)[means > 0] / means[means > 0] - 1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(gains), [tail, 1 - tail])
    return float(low), float(high)


def _gain(
    mrr: float, to_beat: float, gain: float, interval: tuple[float, float] | None, rule: Rule
) -> tuple[bool, str]:
    # A gain of exactly what is asked for is one, however it is rounded.
    met = bool(round(gain, 9) >= rule.gain)
    sure = f", 95 % interval {interval[0]:+.2%} to {interval[1]:+.2%}" if interval else ""
    return met, (
        f"MRR@10 {mrr:.4f} against {to_beat:.4f}: {gain:+.2%}{sure}; "
        f"{'at least' if met else 'it must be at least'} {rule.gain:+.2%}"
    )


def _latency(challenger: Measured, rule: Rule) -> tuple[bool, str]:
    met = bool(challenger.latency_ms <= rule.latency_limit_ms)
    return met, (
        f"128 sentences in {challenger.latency_ms:.0f} ms; "
        f"{'at most' if met else 'it must be at most'} {rule.latency_limit_ms:.0f} ms"
    )


def _guard(name: str, champion: Measured, challenger: Measured, rule: Rule) -> tuple[bool, str]:
    before, after = champion.guards[name], challenger.guards.get(name, float("nan"))
    worse = after - before if name in SMALLER_IS_BETTER else before - after
    tolerance = rule.tolerances.get(name, 0.0)
    met = bool(worse <= tolerance)
    return met, (
        f"{name} {after:.4f} against {before:.4f}; "
        f"{'within' if met else 'it may be worse by at most'} {tolerance:g}"
    )
