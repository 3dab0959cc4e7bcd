"""What was decided about each retrained model, kept where the web applications read it.

The registry knows more, but reading it takes MLflow, seconds and memory: what a page shows is kept
as one small value in the document store.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.stores.documents import DocumentStore

HISTORY = "retraining"
# Some 1 KB each.
MOST_KEPT = 50


class Metric(BaseModel):
    """A figure of both models, and what it has to keep."""

    model_config = ConfigDict(frozen=True)

    name: str
    role: Literal["primary", "guard"]
    champion: float | None = Field(description="None: it was not measured.")
    challenger: float
    unit: Literal["", "ms"] = ""
    is_better: Literal["higher", "lower"] = "higher"
    limit: float | None = Field(
        None, description="What the challenger may not fall below, or exceed where lower is better."
    )
    passed: bool
    low: float | None = Field(
        None, description="95 % interval of the relative gain over the champion; 0.02 is 2 %."
    )
    gain: float | None = None
    high: float | None = None
    least_gain: float | None = Field(None, description="What the gain has to reach.")


class Decision(BaseModel):
    """A retrained model, and whether it became the challenger."""

    model_config = ConfigDict(frozen=True)

    decided_at: float = Field(description="Unix time.")
    champion: str
    challenger: str
    promoted: bool
    reasons: list[str] = Field(description="Why it is not, or why it is.")
    metrics: list[Metric]
    run_id: str = Field("", description="Of MLflow.")


def decisions(documents: DocumentStore) -> list[Decision]:
    """The last ones, newest first."""
    return [Decision.model_validate(one) for one in documents.value(HISTORY) or []]


def remember(documents: DocumentStore, decision: Decision) -> None:
    """Keep a decision with those before it; again is harmless.

    There is one writer at a time: whoever retrains.
    """
    others = [one for one in decisions(documents) if one.challenger != decision.challenger]
    kept = sorted([decision, *others], key=lambda one: one.decided_at, reverse=True)
    documents.save_value(HISTORY, [one.model_dump(mode="json") for one in kept[:MOST_KEPT]])
