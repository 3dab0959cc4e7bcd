"""The directory's category names at one version, prepared for being compared with queries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rapidfuzz import fuzz, process

from pipeline.embeddings import TextEmbeddings
from pipeline.queries.characters import CharacterIndex
from pipeline.queries.folding import fold, stems
from pipeline.queries.spelling import Spelling
from pipeline.queries.thesaurus import Thesaurus

# Where the likeness of letters begins to say something, and where it is sure.
CHARACTERS_RANGE = (0.45, 0.95)
# A text of the thesaurus that is the query itself is worth so much more than the most alike.
THE_VERY_WORDS = 0.5
# What is typed so far is a slip of a name's beginning from this likeness on.
LEAST_BEGINNING = 0.75


@dataclass(frozen=True)
class Space:
    """What is embedded once for a version of the vocabulary.

    ``names`` (2N, D): the names as they are, then in the singular; ``texts`` (T, D): of the
    thesaurus; ``trades`` and ``sure`` (N, K): the trades that the names are of, and how sure that
    is, 0..1.
    """

    names: np.ndarray
    texts: np.ndarray
    trades: np.ndarray
    sure: np.ndarray


class Names:
    """All category names of a directory.

    Args:
        version: of the vocabulary.
        names: as the directory writes them.
        thesaurus: what is asked for, by trade.
        pieces: into how many pieces the text encoder breaks a word.
    """

    def __init__(
        self,
        version: str,
        names: Sequence[str],
        thesaurus: Thesaurus,
        pieces: Callable[[str], int],
    ) -> None:
        self.version = version
        self.names = names
        self.folded = [fold(name) for name in names]
        self._thesaurus = thesaurus
        pairs = list(zip(reversed(self.folded), reversed(names), strict=True))
        self._by_name = dict(pairs)
        self._by_stems = {_in_any_order(folded): name for folded, name in pairs}
        self._asked_for: dict[str, list[int]] = {}
        for place, text in enumerate(thesaurus.texts):
            self._asked_for.setdefault(_in_any_order(text), []).append(place)
        texts = [*self.folded, *thesaurus.texts]
        self._index = CharacterIndex(texts)
        self.spelling = Spelling({word for text in texts for word in text.split()}, pieces)
        self._space: Space | None = None

    def exact(self, folded: str) -> str | None:
        """The category with that name."""
        return self._by_name.get(folded)

    def reworded(self, folded: str) -> str | None:
        """The category with that name in another number or another order of words."""
        return self._by_stems.get(_in_any_order(folded))

    def space(self, embeddings: TextEmbeddings, cache: Path | None) -> Space:
        """The embeddings of the names and of the thesaurus (kept in ``cache``), made once.

        Raises:
            StoreUnavailable, ConfigurationError: as the embeddings.
        """
        if self._space is None:
            singular = [" ".join(stems(folded.split())) for folded in self.folded]
            names = embeddings([*self.names, *singular])
            texts = self._thesaurus.vectors(embeddings, cache)
            trades, sure = self._thesaurus.related(names, texts)
            self._space = Space(names, texts, trades, sure)
        return self._space

    def characters(self, asked: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Likeness of the names (N,) and of the thesaurus (T,) to folded words, 0..1.

        More than 1 for a text of the thesaurus that is the query itself.
        """
        known = [self.spelling.exists(word) for word in asked]
        likeness = scale(self._index.likeness(asked, known), CHARACTERS_RANGE)
        of_names, of_texts = np.split(likeness, [len(self.names)])
        of_texts[self._asked_for.get(_in_any_order(" ".join(asked)), [])] += THE_VERY_WORDS
        return of_names, of_texts

    def by_trade(self, of_texts: np.ndarray) -> np.ndarray:
        """Values (T,) of the thesaurus as values (N,) of the names; 0 before ``space`` is made."""
        if self._space is None:
            return np.zeros(len(self.names), dtype=np.float32)
        trades = self._thesaurus.by_trade(of_texts)
        return (trades[self._space.trades] * self._space.sure).max(axis=1)

    def beginning(self, typed: str) -> np.ndarray:
        """Likeness (N,) of the names' beginnings to what is typed so far, 0..1."""
        begins = [folded[: len(typed)] for folded in self.folded]
        alike = process.cdist([typed], begins, scorer=fuzz.ratio)[0] / np.float32(100)
        return np.where(alike >= LEAST_BEGINNING, alike, 0)


def scale(values: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """The values as 0..1 over ``span``."""
    low, high = span
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _in_any_order(folded: str) -> str:
    return " ".join(sorted(stems(folded.split())))
