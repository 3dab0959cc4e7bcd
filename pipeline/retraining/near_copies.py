"""Texts that say the same in nearly the same letters, so that none is trained and tested on."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist

from pipeline.retraining.oov import terms

# Of the indel similarity 2 m / (a + b), with m letters in common in their order: "cafe" and "cafes"
# have 0.89, "cofee shop" and "coffee shop" 0.95; "ac repair" and "tv repair" 0.78.
CUTOFF = 0.85
ROWS_AT_ONCE = 256


def groups(
    texts: Sequence[str],
    links: Iterable[tuple[int, int]] = (),
    cutoff: float = CUTOFF,
    step: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> np.ndarray:
    """The group of each text: the smallest index of those that it is tied to, int64 (N,).

    Two texts are near copies where the indel similarity of their terms, sorted, is ``cutoff`` or
    more: the order of words does not count. Groups are the connected parts of that relation, so
    that no near copy of a text is in another group.

    Exact, by comparing every two texts whose lengths allow it: the time grows with the square of
    the number, half a minute of one core for 100 000 queries, and the memory with the number alone.

    Args:
        texts: normalised, each once.
        links: indices of texts that belong together whatever they say.
        step: is told ``near copies``, how many texts are done and how many there are.
    """
    sorted_terms = [" ".join(sorted(terms(text))) or text for text in texts]
    order = sorted(range(len(texts)), key=lambda index: len(sorted_terms[index]))
    ordered = [sorted_terms[index] for index in order]
    lengths = np.array([len(text) for text in ordered])
    leaders = _Leaders(len(texts))
    for one, other in links:
        leaders.join(one, other)
    for start in range(0, len(ordered), ROWS_AT_ONCE):
        rows = ordered[start : start + ROWS_AT_ONCE]
        # m is at most the shorter length, which bounds the longer one.
        longest = len(rows[-1]) * (2 - cutoff) / cutoff
        end = int(np.searchsorted(lengths, longest, side="right"))
        alike = cdist(
            rows,
            ordered[start:end],
            scorer=Indel.normalized_similarity,
            score_cutoff=cutoff,
            dtype=np.float32,
        )
        for row, column in np.argwhere(alike > 0):
            leaders.join(order[start + int(row)], order[start + int(column)])
        step("near copies", min(start + ROWS_AT_ONCE, len(ordered)), len(ordered))
    return np.array([leaders.of(index) for index in range(len(texts))], dtype=np.int64)


class _Leaders:
    """Disjoint sets, each led by its smallest member."""

    def __init__(self, size: int) -> None:
        self._above = list(range(size))

    def of(self, index: int) -> int:
        above = self._above
        while above[index] != index:
            above[index] = above[above[index]]
            index = above[index]
        return index

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.of(one), self.of(other)))
        self._above[second] = first
