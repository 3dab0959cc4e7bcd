"""From counts to rows: what is asked with what is right for it, by strata and parts."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pipeline.errors import JustLensError
from pipeline.retraining.cleaning import normalised
from pipeline.retraining.evidence import Evidence
from pipeline.retraining.near_copies import CUTOFF, groups
from pipeline.retraining.oov import Pieces, is_oov, oov_share, terms
from pipeline.retraining.pairs import Pair, Texts, pairs
from pipeline.retraining.splitting import SOME_OOV, Part, frequencies, lot, oov_band, parts, table

# Near copies are found by comparing every two: more would take hours.
MOST_TEXTS = 150_000
SEED = 20_261_126

Step = Callable[[str, int, int], None]
"""Is told the name of a step, how much of it is done, and how much there is."""


class NothingToPrepare(JustLensError):
    """There are no queries and no triplets in what was to be prepared."""


@dataclass(frozen=True)
class Prepared:
    """Rows of each part, the texts for a tokenizer with their counts, and what the card says."""

    rows: Mapping[Part, Sequence[dict[str, Any]]]
    texts: Mapping[str, int]
    card: dict[str, Any]


def assemble(
    evidence: Evidence,
    texts: Texts,
    pieces: Pieces,
    *,
    seed: int = SEED,
    step: Step = lambda name, done, total: None,
) -> Prepared:
    """The rows of each part and the card, from counts; no store is read.

    Raises:
        NothingToPrepare.
    """
    pieces = lru_cache(maxsize=None)(pieces)
    weights = pairs(evidence, texts)
    counts = _counts(evidence)
    dropped = Counter(evidence.dropped)
    chosen, dropped["beyond the most"] = _most(counts, seed)
    if not chosen:
        raise NothingToPrepare(
            "there are no queries yet: they are kept from the next search on and rolled every hour;"
            " files of `justlens report --queries` or of triplets can be given instead"
        )
    anchors = [text for text in chosen if counts[text]]
    shares = {text: oov_share(text, pieces) for text in chosen}
    band = frequencies({text: counts[text] for text in anchors})
    strata = {text: f"{band[text]}, {oov_band(shares[text])}" for text in anchors}
    leaders = groups(chosen, _links(evidence, chosen), step=step)
    members = _members(chosen, leaders, counts)
    parts_of = parts(members, strata, seed)
    rows = _rows(weights, parts_of, shares)
    for_tokenizer = _texts(evidence, rows, parts_of)
    card = {
        "seed": seed,
        "read": dict(evidence.read),
        "dropped": {reason: count for reason, count in sorted(dropped.items()) if count},
        "queries": len(anchors),
        "asked": sum(counts.values()),
        "pairs": dict(Counter(pair.origin for pair in weights)),
        "near_copies": {
            "cutoff": CUTOFF,
            "groups": len(members),
            "largest": max(map(len, members)),
        },
        "strata": table(strata, parts_of),
        "parts": {part.value: _summary(own, parts_of, part) for part, own in rows.items()},
        "texts": len(for_tokenizer),
        "oov_terms": _oov_terms(anchors, counts, pieces),
    }
    return Prepared(rows, for_tokenizer, card)


def _counts(evidence: Evidence) -> Counter[str]:
    """How often each text was asked; 0 for those that only belong to one that was."""
    counts = Counter(evidence.asked)
    for (anchor, _, _), count in evidence.triplets.items():
        counts[anchor] += count
    for _, text in _own_texts(evidence):
        counts.setdefault(text, 0)
    return counts


def _own_texts(evidence: Evidence) -> list[tuple[str, str]]:
    """Anchors of triplets with the texts that go with them and with no other anchor.

    Such a text is another way to put the anchor. One that goes with many is something to be found,
    like a category, and is found in training as in testing.
    """
    anchors: defaultdict[str, set[str]] = defaultdict(set)
    for anchor, *others in evidence.triplets:
        for text in others:
            if text:
                anchors[normalised(text)].add(anchor)
    return [(min(own), text) for text, own in anchors.items() if len(own) == 1]


def _most(counts: Mapping[str, int], seed: int) -> tuple[list[str], int]:
    """The texts that are taken, sorted, and how many are not: of the rare ones some by lot."""
    if len(counts) <= MOST_TEXTS:
        return sorted(counts), 0
    order = sorted(counts, key=lambda text: (-counts[text], lot(text, seed)))
    return sorted(order[:MOST_TEXTS]), len(order) - MOST_TEXTS


def _links(evidence: Evidence, chosen: Sequence[str]) -> list[tuple[int, int]]:
    places = {text: place for place, text in enumerate(chosen)}
    return [
        (places[anchor], places[text])
        for anchor, text in _own_texts(evidence)
        if anchor in places and text in places
    ]


def _members(
    chosen: Sequence[str], leaders: Iterable[int], counts: Mapping[str, int]
) -> list[list[str]]:
    """The texts of each group, the one that was asked most first."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    for text, leader in zip(chosen, leaders, strict=True):
        found[leader].append(text)
    return [sorted(group, key=lambda text: (-counts[text], text)) for group in found.values()]


def _rows(
    weights: Mapping[Pair, int], parts_of: Mapping[str, Part], shares: Mapping[str, float]
) -> dict[Part, list[dict[str, Any]]]:
    rows: dict[Part, list[dict[str, Any]]] = {part: [] for part in Part}
    for pair in sorted(weights):
        part = parts_of.get(pair.anchor)
        if part is not None:
            row = {
                "anchor": pair.anchor,
                "positive": pair.positive,
                "negative": pair.negative or None,
                # What is asked a thousand times is not a thousand times as instructive.
                "weight": 1 + int(math.log2(weights[pair])),
                "origin": pair.origin,
                "oov_share": round(shares[pair.anchor], 4),
            }
            rows[part].append(row)
    return rows


def _texts(
    evidence: Evidence,
    rows: Mapping[Part, Sequence[dict[str, Any]]],
    parts_of: Mapping[str, Part],
) -> dict[str, int]:
    """What a tokenizer may learn from: queries to train with, and what is right for them."""
    counts = Counter(
        {text: count for text, count in evidence.asked.items() if parts_of.get(text) is Part.TRAIN}
    )
    for row in rows[Part.TRAIN]:
        for text in filter(None, (row["positive"], row["negative"])):
            if parts_of.get(normalised(text), Part.TRAIN) is Part.TRAIN:
                counts[text] += 1
        if row["origin"] in ("triplet", "pair"):
            counts[row["anchor"]] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _summary(
    rows: Sequence[dict[str, Any]], parts_of: Mapping[str, Part], part: Part
) -> dict[str, Any]:
    oov = {row["anchor"] for row in rows if row["oov_share"] >= SOME_OOV}
    return {
        "rows": len(rows),
        "anchors": len({row["anchor"] for row in rows}),
        "anchors_with_oov": len(oov),
        "texts": sum(one is part for one in parts_of.values()),
        "origins": dict(Counter(row["origin"] for row in rows)),
    }


def _oov_terms(
    anchors: Sequence[str], counts: Mapping[str, int], pieces: Pieces
) -> dict[str, float]:
    """Different terms, those out of vocabulary, and the share of these in all that was asked."""
    asked: Counter[str] = Counter()
    for text in anchors:
        for term in terms(text):
            asked[term] += counts[text]
    oov = {term for term in asked if is_oov(term, pieces)}
    return {
        "different": len(asked),
        "oov": len(oov),
        "share_of_asked": round(sum(asked[term] for term in oov) / max(1, asked.total()), 4),
    }
