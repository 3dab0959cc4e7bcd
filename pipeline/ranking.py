"""Which pictures of a business answer a query, in which order, and why.

Pure functions on what a page reads. Images scored for the wanted category come first, by relevance
and quality; then those not scored yet, by the Classification Rule-Set: only the ones that show what
their business promises (the one-class flag), by quality.

A page orders a thousand images within a few milliseconds: only for those that are shown is anything
decoded or made.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice, pairwise
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from pipeline.catalogue import Rules
from pipeline.looks import Looks, within
from pipeline.records import ANY_CATEGORY
from pipeline.settings import Settings
from pipeline.stores.page_images import PageImages, PageScores

Source = Literal["scores", "rule_set", "mixed"]
Fallback = Literal["description", "static"]

PARTS = ("description", "image", "category_match")


# A page makes hundreds of the following: plain dataclasses, in half the time of models.


@dataclass(slots=True)
class Why:
    """What put a picture where it stands."""

    rule: Annotated[
        Literal["scores", "rule_set"],
        Field(
            description="scores: by relevance and quality; "
            "rule_set: not scored for this category yet."
        ),
    ]
    target: Annotated[
        str, Field(description="The category or query that the picture was scored against.")
    ]
    live: Annotated[bool, Field(description="Scored at the query, not beforehand.")]
    value: Annotated[float, Field(description="What the order goes by, 0..1.")]
    parts: Annotated[
        Mapping[str, float], Field(description="Each part of the score, 0..1; raw cosines.")
    ]
    weights: Annotated[
        Mapping[str, float],
        Field(description="Of the parts in the score, and of relevance and quality in the value."),
    ]
    fallback: Annotated[
        Fallback | None,
        Field(
            description="Of a query that means no category: `description`, the picture was held "
            "against it by what it is said to show; `static`, the query fits none of the "
            "pictures, and they are in the order of what the business is best known for."
        ),
    ]


@dataclass(slots=True)
class Picture:
    """One image as it is served."""

    product_id: int
    url: str
    enhanced_url: Annotated[str, Field(description="Empty: there is no enhanced version.")]
    width: Annotated[int, Field(description="Pixels; 0: not known.")]
    height: int
    enhanced_width: int
    enhanced_height: int
    alt: str
    score: Annotated[float | None, Field(description="Relevance, 0..1; null: not scored.")]
    quality: Annotated[float, Field(description="0..100.")]
    near_duplicates: Annotated[
        list[int], Field(description="Images left out because they look the same.")
    ]
    why: Why


@dataclass(slots=True)
class Ranking:
    """The pictures of one business for one query."""

    static: Annotated[Picture | None, Field(description="The best for the business as a whole.")]
    dynamic: Annotated[list[Picture], Field(description="What answers the query, best first.")]
    carousel: Annotated[list[Picture], Field(description="Good ones that differ from each other.")]
    enhanced: Annotated[
        list[Picture], Field(description="Those of `dynamic` with an enhanced version.")
    ]
    source: Annotated[
        Source | None, Field(description="What `dynamic` goes by; null: it is empty.")
    ]
    reason: Annotated[str, Field(description="Why `dynamic` is empty.")]


@dataclass(frozen=True)
class Wanted:
    """What images are ranked for.

    Args:
        name: of the category, or the query in words.
        catid: the category whose stored scores count; none where only live scores do.
        live: scores made at the query, their parts not encoded; where given, stored ones do not
            count.
        fallback: why this is ranked for although it was not asked for.
    """

    name: str
    catid: int | None = None
    live: PageScores | None = None
    fallback: Fallback | None = None


class Asked(NamedTuple):
    """A business whose images are to be ranked.

    Args:
        images: its images, with their scores under the categories of ``hot`` and ``wanted``.
        hot: the category that the business is best known for.
        wanted: the category or query to answer.
    """

    images: PageImages
    hot: Wanted
    wanted: Wanted


Decode = Callable[[Sequence[Any]], list[dict[str, Any]]]
"""``DocumentStore.decoded``."""
Hides = Callable[[str], bool]
"""Whether the rules in force hide an image with these ``PageImages.findings``."""


class Candidate(NamedTuple):
    """An image that may be shown, and for what.

    ``value`` is what the order goes by; ``relevance`` and ``parts`` are None where it is the
    Rule-Set's.
    """

    wanted: Wanted
    product_id: int
    quality: float  # 0..100
    card: Any
    value: float
    relevance: float | None
    parts: Any


def nothing(reason: str) -> Ranking:
    """No pictures, and why."""
    return Ranking(static=None, dynamic=[], carousel=[], enhanced=[], source=None, reason=reason)


def rank(page: Sequence[Asked], decoded: Decode, settings: Settings, limit: int) -> list[Ranking]:
    """Ranks the images of each business of a page.

    Args:
        page: the businesses.
        decoded: reads what the rows hold encoded, for those that are shown.
        settings: weights, carousel, what counts as a duplicate.
        limit: most pictures in ``dynamic``.
    """
    hides = _hiding(settings.rules)
    images = _Images([asked.images for asked in page], hides)
    order = _Order(images, [asked.wanted for asked in page], settings)
    is_hot = [asked.hot == asked.wanted for asked in page]
    hot = order if all(is_hot) else _Order(images, [asked.hot for asked in page], settings)
    looks = Looks(order.looks)
    twins = looks.twins(
        settings.duplicate_bits, settings.duplicate_likely_bits, settings.duplicate_cosine
    )
    carousels = _diverse(order, twins, looks, settings)
    choices = [
        _Choice(order, number, own, carousel, None if as_wanted else hot, limit)
        for number, (as_wanted, own, carousel) in enumerate(
            zip(is_hot, twins, carousels, strict=True)
        )
    ]
    pictures = iter(
        _pictures([one for choice in choices for one in choice.shown], decoded, settings)
    )
    return [
        choice.ranking(pictures, "" if choice.dynamic else _reason(asked, hides))
        for asked, choice in zip(page, choices, strict=True)
    ]


def _hiding(rules: Rules) -> Hides:
    return lambda findings: rules.hides(findings.split())


class _Images:
    """The images of all businesses of a page, one behind the other: columns, arrays (N,)."""

    def __init__(self, page: Sequence[PageImages], hides: Hides) -> None:
        self.page = page
        self.businesses = np.repeat(np.arange(len(page)), [len(one.product_ids) for one in page])
        self.product_ids = np.array(_chained(one.product_ids for one in page), np.int64)
        self.quality = np.array(_chained(one.qualities for one in page), float)
        self.has_flag = np.array(_chained(one.one_class for one in page), float) == 1
        self.looks = _chained(one.looks for one in page)
        self.cards = _chained(one.cards for one in page)
        findings = _chained(one.findings for one in page)
        # Most images of a page have nothing, or the same, found about them.
        hidden = {one: bool(one) and hides(one) for one in set(findings)}
        self.may_be_shown = ~np.array([*map(hidden.__getitem__, findings)], bool)

    def relevance(self, scores: Sequence[PageScores]) -> np.ndarray:
        """The relevance (N,) of each image; not a number: not scored."""
        found = (
            map(of_business.values.get, one.product_ids)
            for one, of_business in zip(self.page, scores, strict=True)
        )
        # None becomes not a number.
        return np.array(_chained(found), float)


class _Order:
    """What may be shown of each business, best first: arrays (M,), business behind business.

    Scored ones come first, then those of a higher value; among equals the older id.
    """

    def __init__(self, images: _Images, wanted: Sequence[Wanted], settings: Settings) -> None:
        self._images = images
        self._wanted = wanted
        self._scores = [_scores(one, of) for one, of in zip(images.page, wanted, strict=True)]
        relevance = images.relevance(self._scores)
        is_scored = ~np.isnan(relevance)
        by_both = settings.weight_relevance * relevance
        by_both += settings.weight_quality / 100 * images.quality
        values = np.where(is_scored, by_both, images.quality / 100)
        kept = np.flatnonzero(images.may_be_shown & (is_scored | images.has_flag))
        keys = images.product_ids, -values, ~is_scored, images.businesses
        kept = kept[np.lexsort([key[kept] for key in keys])]
        self.values = values[kept]
        self.is_scored = is_scored[kept]
        self.sizes = np.bincount(images.businesses[kept], minlength=len(wanted)).tolist()
        self._rows = kept.tolist()
        self._starts = [0, *accumulate(self.sizes)]

    @property
    def looks(self) -> list[list[bytes]]:
        """What ``Looks`` compares, by business."""
        every = [*map(self._images.looks.__getitem__, self._rows)]
        return [every[start:stop] for start, stop in pairwise(self._starts)]

    def candidates(self, business: int, places: Iterable[int]) -> list[Candidate]:
        """Those at places of the order of a business."""
        wanted, scores, images = self._wanted[business], self._scores[business], self._images
        found = []
        for place in places:
            product_id = self.product_id(business, place)
            row = self._rows[self._starts[business] + place]
            relevance = scores.values.get(product_id)
            parts = None if relevance is None else scores.parts[product_id]
            value = self.values.item(self._starts[business] + place)
            quality, card = images.quality.item(row), images.cards[row]
            one = Candidate(wanted, product_id, quality, card, value, relevance, parts)
            found.append(one)
        return found

    def product_id(self, business: int, place: int) -> int:
        """The id of that at a place of the order of a business."""
        return self._images.product_ids.item(self._rows[self._starts[business] + place])


def _scores(images: PageImages, wanted: Wanted) -> PageScores:
    """Those of the images of a business for what is wanted."""
    if wanted.live is not None:
        return wanted.live
    return images.scores.get(wanted.catid or ANY_CATEGORY, _NO_SCORES)


_NO_SCORES = PageScores()


def _chained(columns: Iterable[Iterable[Any]]) -> list[Any]:
    return [*chain.from_iterable(columns)]


class _Choice:
    """What of a business is shown: places in the order of its candidates.

    Args:
        order: of all businesses, for what is wanted.
        business: its number in it.
        twins: places of copies, with those of the first ones.
        carousel: places.
        hot: the order for the hot categories, where that is not what is wanted.
        limit: most pictures in ``dynamic``.
    """

    def __init__(
        self,
        order: _Order,
        business: int,
        twins: Mapping[int, int],
        carousel: Sequence[int],
        hot: _Order | None,
        limit: int,
    ) -> None:
        self._order = order
        self._business = business
        self._twins = twins
        self._carousel = carousel
        places = (place for place in range(order.sizes[business]) if place not in twins)
        self.dynamic = list(islice(places, limit))
        self._places = list(dict.fromkeys((*self.dynamic, *carousel)))
        self._is_hot = hot is None
        self._best = hot.candidates(business, [0]) if hot and hot.sizes[business] else []

    @property
    def shown(self) -> list[Candidate]:
        """What pictures have to be made of, each once."""
        return [*self._order.candidates(self._business, self._places), *self._best]

    def ranking(self, made: Iterator[Picture], reason: str) -> Ranking:
        """The answer, with the next of the pictures that were made: those of ``shown``."""
        pictures = {place: next(made) for place in self._places}
        for place, first in self._twins.items():
            if first in pictures:
                copy = self._order.product_id(self._business, place)
                pictures[first].near_duplicates.append(copy)
        dynamic = [pictures[place] for place in self.dynamic]
        static = dynamic[0] if dynamic and self._is_hot else None
        return Ranking(
            static=next(made) if self._best else static,
            dynamic=dynamic,
            carousel=[pictures[place] for place in self._carousel],
            enhanced=[picture for picture in dynamic if picture.enhanced_url],
            source=_source(dynamic),
            reason=reason,
        )


def _diverse(
    order: _Order, twins: Sequence[Mapping[int, int]], looks: Looks, settings: Settings
) -> list[list[int]]:
    """By business: places by maximal marginal relevance (Carbonell and Goldstein 1998).

    Each next picture is the one with the most of lambda times its own value, less (1 - lambda)
    times its likeness to the likest of those before it. All businesses at once, in arrays (G, N).
    """
    share = settings.carousel_lambda
    present = within(order.sizes)
    values, unscored = np.ones(present.shape), np.zeros(present.shape, bool)
    values[present], unscored[present] = order.values, ~order.is_scored
    # On one scale: an image without a score stays below the least of those with one.
    least = np.where(unscored, 1.0, values).min(axis=1, initial=1.0)
    worth = share * values * np.where(unscored, least[:, None], 1.0)
    for kept, out in zip(present, twins, strict=True):
        kept[list(out)] = False
    worth[~present] = -np.inf
    steps = min(settings.carousel_size, worth.shape[1])
    chosen = np.zeros((len(worth), steps), int)
    likest = np.zeros_like(worth)
    rows = np.arange(len(worth))
    for step in range(steps):
        best = chosen[:, step] = np.argmax(worth - (1 - share) * likest, axis=1)
        worth[rows, best] = -np.inf
        likest = np.maximum(likest, looks.likeness(best))
    sizes = present.sum(axis=1).tolist()
    return [places[:size] for places, size in zip(chosen.tolist(), sizes, strict=True)]


def _pictures(shown: Sequence[Candidate], decoded: Decode, settings: Settings) -> list[Picture]:
    """Pictures of candidates, each for what it is shown for."""
    cards = decoded([one.card for one in shown])
    stored = [one.parts for one in shown if one.relevance is not None and one.wanted.live is None]
    stored_parts = iter(decoded(stored))
    weights: dict[tuple[bool, ...], dict[str, float]] = {}
    pictures = []
    for (wanted, product_id, quality, _, value, relevance, parts), card in zip(
        shown, cards, strict=True
    ):
        if relevance is None:
            parts, by = {"one_class": 1.0}, {"quality": 1.0}
            why = Why("rule_set", wanted.name, False, value, parts, by, wanted.fallback)
        else:
            is_live = wanted.live is not None
            if not is_live:
                parts = next(stored_parts)
            present = ("description" in parts, "image" in parts, "category_match" in parts)
            if present not in weights:
                weights[present] = _weights(parts, settings)
            by = weights[present]
            why = Why("scores", wanted.name, is_live, value, parts, by, wanted.fallback)
        url, enhanced_url = card["url"], card["enhanced_url"]
        is_enhanced = bool(enhanced_url) and enhanced_url != url
        pictures.append(
            Picture(
                product_id,
                url,
                enhanced_url if is_enhanced else "",
                card["width"],
                card["height"],
                card["enhanced_width"] if is_enhanced else 0,
                card["enhanced_height"] if is_enhanced else 0,
                card["alt"] or card["description"],
                relevance,
                quality,
                [],
                why,
            )
        )
    return pictures


def _weights(parts: Mapping[str, float], settings: Settings) -> dict[str, float]:
    own = {part: getattr(settings, f"weight_{part}") for part in PARTS if part in parts}
    total = sum(own.values()) or 1.0
    return {
        **{part: weight / total for part, weight in own.items()},
        "relevance": settings.weight_relevance,
        "quality": settings.weight_quality,
    }


def _source(pictures: Sequence[Picture]) -> Source | None:
    rules = {picture.why.rule for picture in pictures}
    if len(rules) > 1:
        return "mixed"
    return rules.pop() if rules else None


def _reason(asked: Asked, hides: Hides) -> str:
    findings = asked.images.findings
    if not findings:
        return "The business has no images yet."
    if all(map(hides, findings)):
        found = {one for of_image in findings for one in of_image.split()}
        reasons = sorted(finding for finding in found if hides(finding))
        return f"No image of the business can be shown: {', '.join(reasons)}."
    name = asked.wanted.name
    return f"No image is scored for {name!r} yet and none shows what the business promises."
