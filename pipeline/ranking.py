"""Which pictures of a business answer a query, in which order, and why.

Pure functions on records. Images scored for the wanted category come first, by relevance and
quality; then those not scored yet, by the Classification Rule-Set: only the ones that show what
their business promises (the one-class flag), by quality.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.catalogue import Rules
from pipeline.records import ANY_CATEGORY, ImageRelevance
from pipeline.scoring import Score
from pipeline.settings import Settings

Source = Literal["scores", "rule_set", "mixed"]

HASH_BITS = 64
# Hashes of unrelated photos differ in half of their bits: so far apart, they are not alike at all.
UNRELATED_BITS = HASH_BITS // 2

# The share of a picture's own value in a carousel, against its likeness to those before it.
CAROUSEL_VALUE = 0.7

PARTS = ("description", "image", "category_match")


class Answer(BaseModel):
    """Base of what serving answers with: values, never changed."""

    model_config = ConfigDict(frozen=True)


class Why(Answer):
    """What put a picture where it stands."""

    rule: Literal["scores", "rule_set"] = Field(
        description="scores: by relevance and quality; rule_set: not scored for this category yet."
    )
    target: str = Field(description="The category or query that the picture was scored against.")
    live: bool = Field(description="Scored at the query, not beforehand.")
    value: float = Field(description="What the order goes by, 0..1.")
    parts: dict[str, float] = Field(description="Each part of the score, 0..1; raw cosines.")
    weights: dict[str, float] = Field(
        description="Of the parts in the score, and of relevance and quality in the value."
    )


class Picture(Answer):
    """One image as it is served."""

    product_id: int
    url: str
    enhanced_url: str = Field(description="Empty: there is no enhanced version.")
    width: int = Field(description="Pixels; 0: not known.")
    height: int
    enhanced_width: int
    enhanced_height: int
    alt: str
    score: float | None = Field(description="Relevance, 0..1; null: not scored.")
    quality: float = Field(description="0..100.")
    near_duplicates: list[int] = Field(description="Images left out because they look the same.")
    why: Why


class Ranking(Answer):
    """The pictures of one business for one query."""

    static: Picture | None = Field(description="The best for the business as a whole.")
    dynamic: list[Picture] = Field(description="What answers the query, best first.")
    carousel: list[Picture] = Field(description="Good ones that differ from each other.")
    enhanced: list[Picture] = Field(description="Those of `dynamic` with an enhanced version.")
    source: Source | None = Field(description="What `dynamic` goes by; null: it is empty.")
    reason: str = Field(description="Why `dynamic` is empty.")


@dataclass(frozen=True)
class Wanted:
    """What images are ranked for.

    Args:
        name: of the category, or the query in words.
        catid: the category whose stored scores count; none where only live scores do.
        live: scores made at the query, by product_id; where given, stored ones do not count.
    """

    name: str
    catid: int | None = None
    live: Mapping[int, Score] | None = None


def rank(
    rows: Iterable[ImageRelevance], hot: Wanted, wanted: Wanted, settings: Settings, limit: int
) -> Ranking:
    """Ranks the images of one business.

    Args:
        rows: its ``imgrel`` rows under ``ANY_CATEGORY`` and under the categories of ``hot`` and
            ``wanted``; others are passed over.
        hot: the category that the business is best known for.
        wanted: the category or query to answer.
        settings: weights, carousel size, what counts as a duplicate.
        limit: most pictures in ``dynamic``.
    """
    images = _images(rows)
    shown = [image for image in images if not settings.rules.hides(image.any.card.invalid)]
    dynamic = _once(sorted(_candidates(shown, wanted, settings)), settings.duplicate_bits)
    best = min(_candidates(shown, hot, settings), default=None)
    carousel = _diverse(dynamic, settings.carousel_size)
    answering = {c.image.product_id: c for c in (*dynamic[:limit], *carousel)}
    pictures = {key: _picture(c, wanted, settings) for key, c in answering.items()}
    served = [pictures[candidate.image.product_id] for candidate in dynamic[:limit]]
    return Ranking(
        static=_picture(best, hot, settings) if best else None,
        dynamic=served,
        carousel=[pictures[candidate.image.product_id] for candidate in carousel],
        enhanced=[picture for picture in served if picture.enhanced_url],
        source=_source(served),
        reason="" if served else _reason(images, shown, wanted.name, settings.rules),
    )


def nothing(reason: str) -> Ranking:
    """No pictures, and why."""
    return Ranking(static=None, dynamic=[], carousel=[], enhanced=[], source=None, reason=reason)


@dataclass(frozen=True)
class _Image:
    """The rows of one image, by category."""

    product_id: int
    rows: dict[int, ImageRelevance]

    @property
    def any(self) -> ImageRelevance:
        """A row that says what the image is: those of one image all carry the same card."""
        return self.rows.get(ANY_CATEGORY) or next(iter(self.rows.values()))

    def score(self, wanted: Wanted) -> Score | None:
        """Its score for what is wanted; none where it has not been scored."""
        if wanted.live is not None:
            score = wanted.live.get(self.product_id)
        else:
            row = self.rows.get(wanted.catid) if wanted.catid else None
            score = Score(row.score, row.parts) if row else None
        return score if score and score.value is not None else None


@dataclass(frozen=True)
class _Candidate:
    """An image that may be shown. ``value`` is what the order goes by, 0..1."""

    image: ImageRelevance
    value: float
    score: Score | None
    hash: int | None
    twins: tuple[int, ...] = ()

    def __lt__(self, other: "_Candidate") -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[bool, float, int]:
        """Scored ones first, then by value; among equals the older id."""
        return self.score is None, -self.value, self.image.product_id

    def bits_to(self, other: "_Candidate") -> int:
        """Bits in which the perceptual hashes differ; all of them where one is missing."""
        if self.hash is None or other.hash is None:
            return HASH_BITS
        return (self.hash ^ other.hash).bit_count()


def _images(rows: Iterable[ImageRelevance]) -> list[_Image]:
    images: dict[int, _Image] = {}
    for row in rows:
        images.setdefault(row.product_id, _Image(row.product_id, {})).rows[row.catid] = row
    return list(images.values())


def _candidates(
    images: Iterable[_Image], wanted: Wanted, settings: Settings
) -> Iterator[_Candidate]:
    for image in images:
        row = image.any
        quality = row.quality / 100
        score = image.score(wanted)
        digits = row.card.perceptual_hash
        bits = int(digits, 16) if digits else None
        if score is not None and score.value is not None:
            value = settings.weight_relevance * score.value + settings.weight_quality * quality
            yield _Candidate(row, value, score, bits)
        elif row.one_class:
            yield _Candidate(row, quality, None, bits)


def _once(candidates: Iterable[_Candidate], bits: int) -> list[_Candidate]:
    """Of images that look the same, the first; the others are named in its ``twins``."""
    kept: list[_Candidate] = []
    for candidate in candidates:
        for index, before in enumerate(kept):
            if candidate.bits_to(before) <= bits:
                twins = (*before.twins, candidate.image.product_id)
                kept[index] = replace(before, twins=twins)
                break
        else:
            kept.append(candidate)
    return kept


def _diverse(candidates: Sequence[_Candidate], size: int) -> list[_Candidate]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): good, and unlike those before."""
    # On one scale: an image without a score stays below the least of those with one.
    least = min((c.value for c in candidates if c.score), default=1.0)
    values = [c.value if c.score else c.value * least for c in candidates]
    likeness = [0.0] * len(candidates)  # to the most alike of those chosen
    left = list(range(len(candidates)))
    chosen: list[_Candidate] = []
    while left and len(chosen) < size:
        best = max(
            left, key=lambda i: CAROUSEL_VALUE * values[i] - (1 - CAROUSEL_VALUE) * likeness[i]
        )
        left.remove(best)
        chosen.append(candidates[best])
        for i in left:
            bits = min(candidates[i].bits_to(candidates[best]), UNRELATED_BITS)
            likeness[i] = max(likeness[i], 1 - bits / UNRELATED_BITS)
    return chosen


def _picture(candidate: _Candidate, wanted: Wanted, settings: Settings) -> Picture:
    card = candidate.image.card
    enhanced = bool(card.enhanced_url) and card.enhanced_url != card.url
    return Picture(
        product_id=candidate.image.product_id,
        url=card.url,
        enhanced_url=card.enhanced_url if enhanced else "",
        width=card.width,
        height=card.height,
        enhanced_width=card.enhanced_width if enhanced else 0,
        enhanced_height=card.enhanced_height if enhanced else 0,
        alt=card.alt or card.description,
        score=candidate.score.value if candidate.score else None,
        quality=candidate.image.quality,
        near_duplicates=list(candidate.twins),
        why=_why(candidate, wanted, settings),
    )


def _why(candidate: _Candidate, wanted: Wanted, settings: Settings) -> Why:
    if candidate.score is None:
        return Why(
            rule="rule_set",
            target=wanted.name,
            live=False,
            value=candidate.value,
            parts={"one_class": 1.0},
            weights={"quality": 1.0},
        )
    parts = candidate.score.parts
    present = {part: getattr(settings, f"weight_{part}") for part in PARTS if part in parts}
    total = sum(present.values()) or 1.0
    return Why(
        rule="scores",
        target=wanted.name,
        live=wanted.live is not None,
        value=candidate.value,
        parts=parts,
        weights={
            **{part: weight / total for part, weight in present.items()},
            "relevance": settings.weight_relevance,
            "quality": settings.weight_quality,
        },
    )


def _source(pictures: Sequence[Picture]) -> Source | None:
    rules = {picture.why.rule for picture in pictures}
    if len(rules) > 1:
        return "mixed"
    return rules.pop() if rules else None


def _reason(images: Sequence[_Image], shown: Sequence[_Image], name: str, rules: Rules) -> str:
    if not images:
        return "The business has no images yet."
    if not shown:
        found = {reason for image in images for reason in image.any.card.invalid}
        reasons = sorted(reason for reason in found if rules.hides([reason]))
        return f"No image of the business can be shown: {', '.join(reasons)}."
    return f"No image is scored for {name!r} yet and none shows what the business promises."
