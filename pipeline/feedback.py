"""What visitors did with the pictures that they were shown, and what follows from it."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from pipeline.messages import DocId, ProductId
from pipeline.personal_data import without_personal_data
from pipeline.queries import LONGEST_QUERY

LAST_POSITION = 1000
# Of the standard normal distribution: 95 % lie within so many deviations.
DEVIATIONS = 1.96

EventId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Text = Annotated[
    str, StringConstraints(max_length=LONGEST_QUERY), AfterValidator(without_personal_data)
]
Key = TypeVar("Key", "Place", str)


class Event(BaseModel):
    """A picture was shown to somebody, or clicked on.

    A click whose id is made from that of its impression counts once, however often somebody clicks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    event_id: EventId = Field(description="The same id again is the same event.")
    kind: Literal["impression", "click"]
    docid: DocId
    product_id: ProductId
    position: int = Field(ge=1, le=LAST_POSITION, description="In its slot; the first is 1.")
    slot: Literal["static", "dynamic", "carousel"]
    source: Literal["scores", "rule_set"] = Field(description="The picture's `why.rule`.")
    query: Text = Field("", description="As it was typed; empty: none was.")
    category: Text = Field("", description="What it was taken to mean, or what was asked for.")
    occurred_at: float = Field(
        default_factory=time.time, ge=0, description="Unix time; absent: now."
    )


@dataclass(frozen=True)
class Shown:
    """How often pictures were shown at one place for one reason, and clicked there."""

    slot: str
    position: int
    source: str
    impressions: int
    clicks: int


@dataclass(frozen=True)
class AskedFor:
    """A query with all that was shown for it."""

    query: str
    category: str
    impressions: int
    clicks: int


@dataclass(frozen=True)
class Chosen:
    """What was clicked on for a query.

    Parameters:
        docid: empty: nothing of all that was shown.
        count: clicks; without a picture, how many pictures were shown in vain.
    """

    query: str
    category: str
    docid: str
    product_id: int | None
    count: int


class Click(NamedTuple):
    """A click for a query; times are Unix times."""

    query: str
    category: str
    docid: str
    product_id: int
    occurred_at: float


class Place(NamedTuple):
    """Where a picture stands."""

    slot: str
    position: int


@dataclass(frozen=True)
class ClickThrough:
    """The share of impressions that were clicked on, 0..1, with its 95 % interval."""

    impressions: int
    clicks: int
    rate: float
    low: float
    high: float


def by_position(shown: Iterable[Shown]) -> dict[Place, ClickThrough]:
    """Click-through at each place, in the order of places."""
    return _grouped(shown, lambda some: Place(some.slot, some.position))


def by_source(shown: Iterable[Shown]) -> dict[str, ClickThrough]:
    """Click-through of pictures put where they stood by their scores and by the rule-set.

    What stands further up is clicked on more, whatever put it there.
    """
    return _grouped(shown, lambda some: some.source)


def click_through(impressions: int, clicks: int) -> ClickThrough:
    """The rate, and Wilson's interval of it: E. B. Wilson 1927, JASA 22 (158), pages 209 to 212."""
    if not impressions:
        return ClickThrough(0, 0, 0.0, 0.0, 1.0)
    rate = clicks / impressions
    squared = DEVIATIONS**2
    centre = rate + squared / (2 * impressions)
    margin = DEVIATIONS * math.sqrt(
        rate * (1 - rate) / impressions + squared / (4 * impressions**2)
    )
    scale = 1 + squared / impressions
    low, high = max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)
    return ClickThrough(impressions, clicks, rate, low, high)


def _grouped(shown: Iterable[Shown], key: Callable[[Shown], Key]) -> dict[Key, ClickThrough]:
    sums: defaultdict[Key, list[int]] = defaultdict(lambda: [0, 0])
    for some in shown:
        total = sums[key(some)]
        total[0] += some.impressions
        total[1] += some.clicks
    return {group: click_through(*sums[group]) for group in sorted(sums)}
