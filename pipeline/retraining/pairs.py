"""Queries with the texts that are right for them, from clicks, resolutions and triplets."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Literal, NamedTuple, TypeVar

from pipeline.retraining.cleaning import normalised
from pipeline.retraining.evidence import Evidence, ImageKey, spaced
from pipeline.stores import Stores

Item = TypeVar("Item")

Origin = Literal["click", "resolution", "triplet", "pair"]

EXAMPLES = 3
# The least score of a photo whose description stands for a category.
LEAST_SCORE = 0.5
# Scored images that are looked through for examples, in the order of the directory.
MOST_LOOKED_THROUGH = 50_000
AT_ONCE = 500


class Pair(NamedTuple):
    """A query, normalised, and a text that is right for it; ``negative`` may be empty."""

    anchor: str
    positive: str
    negative: str
    origin: Origin


@dataclass(frozen=True)
class Texts:
    """What pictures and categories are said to be.

    Attributes:
        of_images: description and alt text of each picture that has any.
        of_categories: descriptions of pictures that show a category well.
    """

    of_images: Mapping[ImageKey, Sequence[str]] = field(default_factory=dict)
    of_categories: Mapping[str, Sequence[str]] = field(default_factory=dict)


def pairs(evidence: Evidence, texts: Texts) -> Counter[Pair]:
    """All pairs with how often they were seen; a text is no pair with itself.

    What was found in two ways counts for both, under the one that says more: a click, then what a
    file says, then a resolution.
    """
    found: dict[tuple[str, str, str], tuple[Origin, int]] = {}
    for pair, count in chain(_clicks(evidence, texts), _files(evidence), _meant(evidence, texts)):
        if pair.positive and normalised(pair.positive) != pair.anchor:
            key = pair[:3]
            origin, before = found.get(key, (pair.origin, 0))
            found[key] = origin, before + count
    return Counter({Pair(*key, origin): count for key, (origin, count) in found.items()})


def texts_of(stores: Stores, evidence: Evidence) -> Texts:
    """What the directory says of the pictures and categories of the evidence.

    Raises:
        StoreUnavailable.
    """
    images = {key for _, key in evidence.clicked}
    categories = {category for _, category in chain(evidence.chosen, evidence.meant)}
    return Texts(dict(_said(stores, sorted(images))), _examples(stores, categories))


def _clicks(evidence: Evidence, texts: Texts) -> Iterator[tuple[Pair, int]]:
    for (query, key), count in evidence.clicked.items():
        for text in texts.of_images.get(key, ()):
            yield Pair(query, text, "", "click"), count
    for (query, category), count in evidence.chosen.items():
        yield Pair(query, category, "", "click"), count


def _files(evidence: Evidence) -> Iterator[tuple[Pair, int]]:
    for (anchor, positive, negative), count in evidence.triplets.items():
        yield Pair(anchor, positive, negative, "triplet" if negative else "pair"), count


def _meant(evidence: Evidence, texts: Texts) -> Iterator[tuple[Pair, int]]:
    for (query, category), count in evidence.meant.items():
        for text in (category, *texts.of_categories.get(category, ())):
            yield Pair(query, text, "", "resolution"), count


def _said(stores: Stores, keys: Iterable[ImageKey]) -> Iterator[tuple[ImageKey, list[str]]]:
    for some in _portions(keys):
        described = stores.documents.metadata(some)
        alt_texts = stores.directory.alt_texts_of(some)
        for key in some:
            said = [described[key].description] if key in described else []
            said += [alt_texts[key].alttag] if key in alt_texts else []
            if own := list(dict.fromkeys(spaced(text) for text in said if text.strip())):
                yield key, own


def _examples(stores: Stores, categories: Collection[str]) -> dict[str, list[str]]:
    """Descriptions of the pictures with the highest scores in each category."""
    best: defaultdict[str, list[tuple[float, ImageKey]]] = defaultdict(list)
    scored = islice(stores.documents.every_scored(), MOST_LOOKED_THROUGH) if categories else ()
    for some in _portions(scored):
        docids = sorted({docid for docid, _ in some})
        names = {
            (docid, one.catid): one.name
            for docid, listed in stores.directory.categories(docids).items()
            for one in listed
            if one.name in categories
        }
        wanted = {catid for _, catid in names}
        for row in stores.documents.relevance(docids, sorted(wanted)) if wanted else ():
            name = names.get((row.docid, row.catid))
            if name is not None and row.score is not None and row.score >= LEAST_SCORE:
                found = (row.score, (row.docid, row.product_id))
                if found not in best[name]:
                    heapq.heappush(best[name], found)
                if len(best[name]) > EXAMPLES:
                    heapq.heappop(best[name])
    keys = sorted({key for found in best.values() for _, key in found})
    described = stores.documents.metadata(keys) if keys else {}
    return {
        name: [
            spaced(described[key].description)
            for _, key in sorted(found, reverse=True)
            if key in described and described[key].description.strip()
        ]
        for name, found in best.items()
    }


def _portions(items: Iterable[Item]) -> Iterator[list[Item]]:
    left = iter(items)
    while some := list(islice(left, AT_ONCE)):
        yield some
