"""The category names of the whole directory: word weights and the background set.

Raw cosines of different photos are not comparable: a photo of a busy street is a little like
everything. A score therefore sets a photo's cosine with a category against the same photo's
cosines with a background set of names.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.stores.documents import DocumentStore

BACKGROUND = "background"

_WORD = re.compile(r"[^\W\d_]+")


def words(name: str) -> list[str]:
    """The words of a name, in lower case."""
    return _WORD.findall(name.lower())


@dataclass(frozen=True)
class Background:
    """A versioned sample of the vocabulary. ``version`` is stored with every score."""

    version: str
    names: tuple[str, ...]


def choose_background(
    vocabulary: Sequence[str], fillers: Sequence[str], size: int, least: int
) -> Background:
    """A sample of at most ``size`` names; a small vocabulary is filled up with ``fillers``.

    The sample is drawn by the names' hashes: adding a name changes one place at most, and every
    machine draws the same.
    """

    def drawn(names: Sequence[str], count: int) -> list[str]:
        return sorted(set(names), key=lambda name: hashlib.sha256(name.encode()).digest())[:count]

    names = drawn(vocabulary, size)
    if len(names) < least:
        names += drawn([name for name in fillers if name not in names], size // 2)
    names.sort()
    version = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    return Background(version, tuple(names))


def current_background(
    documents: DocumentStore,
    vocabulary: Sequence[str],
    fillers: Sequence[str],
    size: int,
    least: int,
) -> Background:
    """The background set in force, kept until the vocabulary has doubled since it was drawn.

    A directory grows by the day; scores stay comparable because its background does not.
    """
    kept = documents.value(BACKGROUND)
    if kept and len(vocabulary) < 2 * max(kept["vocabulary_size"], least):
        return Background(kept["version"], tuple(kept["names"]))
    background = choose_background(vocabulary, fillers, size, least)
    documents.save_value(
        BACKGROUND,
        {
            "version": background.version,
            "names": list(background.names),
            "vocabulary_size": len(vocabulary),
        },
    )
    return background


class WordWeights:
    """TF-IDF over category names, each name one document.

    idf(w) = ln((1 + N) / (1 + df(w))) + 1, the smoothed form of Salton and Buckley (1988).
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._count = len(vocabulary)
        self._frequencies = Counter(word for name in vocabulary for word in set(words(name)))

    def idf(self, word: str) -> float:
        """The inverse document frequency of one lower-case word."""
        return math.log((1 + self._count) / (1 + self._frequencies[word])) + 1.0

    def of(self, name: str) -> dict[str, float]:
        """Word to TF-IDF weight; empty for a name without words."""
        return {word: count * self.idf(word) for word, count in Counter(words(name)).items()}


def weighted_mean(weights: Sequence[float], vectors: np.ndarray) -> np.ndarray:
    """The weighted mean (D,) of unit vectors (N, D), brought back to unit length."""
    mean = np.asarray(weights, dtype=np.float32) @ vectors
    return mean / np.linalg.norm(mean)
