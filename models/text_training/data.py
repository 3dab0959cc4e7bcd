"""What a text model is trained and measured on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A text, one that means the same, and perhaps one that does not though it looks alike.

    Attributes
    ----------
    weight:
        How much it counts beside the others, above 0.
    origin:
        Where it came from, such as `clicks`.
    """

    anchor: str
    positive: str
    negative: str | None = None
    weight: float = 1.0
    origin: str = ""


@dataclass(frozen=True)
class Pair:
    """Two texts and how alike they are, 0..1; for paraphrases 0 or 1."""

    first: str
    second: str
    score: float


@dataclass(frozen=True)
class Retrieval:
    """Queries, the texts that are searched, and for each query which of them are right.

    Attributes
    ----------
    relevant:
        For each query the positions in `corpus`, none empty.
    """

    queries: tuple[str, ...]
    corpus: tuple[str, ...]
    relevant: tuple[frozenset[int], ...]

    def only(self, kept: Sequence[int]) -> "Retrieval":
        """The queries at these positions, searching the same corpus."""
        return Retrieval(
            tuple(self.queries[at] for at in kept),
            self.corpus,
            tuple(self.relevant[at] for at in kept),
        )


def as_retrieval(examples: Iterable[Example]) -> Retrieval:
    """Anchors search all positives and negatives for their own positives; doubles are one."""
    positions: dict[str, int] = {}
    relevant: dict[str, set[int]] = {}
    for example in examples:
        for text in (example.positive, example.negative):
            if text is not None:
                positions.setdefault(text, len(positions))
        relevant.setdefault(example.anchor, set()).add(positions[example.positive])
    return Retrieval(
        tuple(relevant),
        tuple(positions),
        tuple(frozenset(found) for found in relevant.values()),
    )
