"""How retrained models did against the champion, kept where the web applications read it.

The registry knows more, but reading it takes MLflow, seconds and memory: what a page shows is kept
as one small value in the document store.
"""

import math
import time
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.retraining.decision import SMALLER_IS_BETTER, Decision, Measured, Rule
from pipeline.stores.documents import DocumentStore

HISTORY = "retraining"
# Some 1 KB each.
MOST_KEPT = 50


class Metric(BaseModel):
    """A figure of both models, and what it has to keep."""

    model_config = ConfigDict(frozen=True)

    name: str
    role: Literal["primary", "guard"]
    champion: float | None = Field(description="None: unknown.")
    challenger: float | None
    unit: Literal["", "ms"] = ""
    is_better: Literal["higher", "lower"] = "higher"
    limit: float | None = Field(
        None, description="What the challenger may not fall below, or exceed where lower is better."
    )
    gain: float | None = Field(None, description="Relative, over the champion; 0.02 is 2 %.")
    low: float | None = Field(None, description="Of its 95 % interval.")
    high: float | None = None
    least_gain: float | None = Field(None, description="What the gain has to reach.")
    passed: bool


class Trial(BaseModel):
    """A retrained model that was measured against the champion, and what came of it."""

    model_config = ConfigDict(frozen=True)

    decided_at: float = Field(description="Unix time.")
    champion: str = Field(description="Such as `text6`, or the model of the settings.")
    challenger: str = Field(description="Such as `text7`: the version in the registry.")
    promoted: bool = Field(description="Whether it became the challenger.")
    reasons: list[str]
    metrics: list[Metric]


def trials(documents: DocumentStore) -> list[Trial]:
    """The last ones, newest first."""
    return [Trial.model_validate(one) for one in documents.value(HISTORY) or []]


def remember(documents: DocumentStore, trial: Trial) -> None:
    """Keep a trial with those before it; of a model that is there already nothing changes.

    There is one writer at a time: whoever retrains.
    """
    known = trials(documents)
    if trial.challenger in {one.challenger for one in known}:
        return
    kept = sorted([trial, *known], key=lambda one: one.decided_at, reverse=True)
    documents.save_value(HISTORY, [one.model_dump(mode="json") for one in kept[:MOST_KEPT]])


def trial_of(
    decision: Decision,
    rule: Rule,
    champion: tuple[str, Measured],
    challenger: tuple[str, Measured],
) -> Trial:
    """What is remembered of a decision.

    Args:
        decision: by ``decision.decide``.
        rule: that it went by.
        champion: its name, such as ``text6``, and what was measured of it.
        challenger: the same.
    """
    (ours, before), (theirs, after) = champion, challenger
    metrics = [_primary(decision, rule, before, after), _latency(decision, rule, before, after)]
    metrics += [_guard(name, decision, rule, before, after) for name in sorted(before.guards)]
    return Trial(
        decided_at=time.time(),
        champion=ours,
        challenger=theirs,
        promoted=decision.promoted,
        reasons=list(decision.reasons),
        # Where nothing could be decided by, there is a reason and no figure.
        metrics=metrics if decision.met else [],
    )


def _primary(decision: Decision, rule: Rule, before: Measured, after: Measured) -> Metric:
    low, high = decision.interval or (None, None)
    return Metric(
        name="MRR@10, words out of vocabulary",
        role="primary",
        champion=_finite(before.mrr),
        challenger=_finite(after.mrr),
        gain=_finite(decision.gain),
        low=low,
        high=high,
        least_gain=rule.gain,
        passed=decision.met.get("mrr", False),
    )


def _latency(decision: Decision, rule: Rule, before: Measured, after: Measured) -> Metric:
    return Metric(
        name="Encoding 128 sentences",
        role="guard",
        champion=_finite(before.latency_ms),
        challenger=_finite(after.latency_ms),
        unit="ms",
        is_better="lower",
        limit=rule.latency_limit_ms,
        passed=decision.met.get("latency", False),
    )


def _guard(name: str, decision: Decision, rule: Rule, before: Measured, after: Measured) -> Metric:
    tolerance = rule.tolerances.get(name, 0.0)
    is_smaller_better = name in SMALLER_IS_BETTER
    return Metric(
        name=name,
        role="guard",
        champion=_finite(before.guards[name]),
        challenger=_finite(after.guards.get(name)),
        is_better="lower" if is_smaller_better else "higher",
        limit=_finite(before.guards[name] + (tolerance if is_smaller_better else -tolerance)),
        passed=decision.met.get(name, False),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
