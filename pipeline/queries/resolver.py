"""A text that a person typed, resolved to a category by everything that is known about both."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pipeline.embeddings import TextEmbeddings
from pipeline.errors import ConfigurationError, StoreUnavailable
from pipeline.queries.folding import LONGEST_QUERY, fold, telling_words
from pipeline.queries.names import Names, scale
from pipeline.queries.thesaurus import Thesaurus

log = logging.getLogger(__name__)

# Where a cosine begins to say something, and where it is sure. Unrelated short texts lie at cosines
# up to 0.4, a name and its plural at 0.9. Something in the thesaurus must be nearer to count: a
# trade has a dozen texts, and the nearest of so many is always near.
MEANING_RANGE = (0.2, 0.9)
ASKED_FOR_RANGE = (0.45, 1.0)
# A query as it was probably meant counts a little less than one typed so.
RESPELT = 0.9

# Beside the meaning of the name, which has weight 1.
CHARACTERS_WEIGHT = 0.8
TRADE_WEIGHT = 0.8
# The least weighted sum; below, a wrong category would do more harm than none. A text of words that
# all exist means something, so that less is enough.
LEAST = 0.3
LEAST_OF_WORDS = 0.2
LEAST_SUGGESTED = 0.5
# The sum from which on a category is as good as certain.
CERTAIN = 1.5
# Letters that say so much would have decided without the meaning.
LETTERS_DECIDE = 0.5
# And such letters do, if no other name comes near: the encoder takes longer than all the rest.
LETTERS_SUFFICE = 0.75
FAR_BEHIND = 0.4

SUGGESTIONS = 5
# What likely misspellings are, and from how many letters on there are any.
LEAST_TYPED = 0.3
SHORTEST_GUESSED = 3
CACHED_QUERIES = 4096


class Resolution(BaseModel):
    """How a query was understood."""

    model_config = ConfigDict(frozen=True)

    query: str
    category: str | None = Field(description="A name of the vocabulary; null: none fits.")
    how: Literal["exact", "characters", "meaning", "none"]
    confidence: float = Field(description="0..1; 1 for an exact match.")
    suggestions: list[str] = Field(description="Other categories that it could mean, best first.")
    degraded: str = Field(default="", description="Why its meaning could not be looked at.")


class Vocabulary(Protocol):
    """What the resolver needs of the directory."""

    def vocabulary(self) -> list[str]:
        """All category names."""

    def vocabulary_version(self) -> str:
        """Another string whenever the names have changed."""


class QueryResolver:
    """Finds the category that a text means.

    Args:
        directory: where the category names are.
        embeddings: of the text encoder's space.
        pieces: into how many pieces the text encoder breaks a word; 1: a word it knows.
        refresh_every: seconds between two looks at the vocabulary's version, once it has names.
        thesaurus: what is asked for, by trade; the product's own by default.
        cache: a folder that keeps the embeddings of the thesaurus.
    """

    def __init__(
        self,
        directory: Vocabulary,
        embeddings: TextEmbeddings,
        pieces: Callable[[str], int],
        refresh_every: float = 5.0,
        thesaurus: Thesaurus | None = None,
        cache: Path | None = None,
    ) -> None:
        self._directory = directory
        self._embeddings = embeddings
        self._pieces = pieces
        self._refresh_every = refresh_every
        self._thesaurus = Thesaurus.load() if thesaurus is None else thesaurus
        self._cache = cache
        self._names: Names | None = None
        self._resolved: OrderedDict[str, Resolution] = OrderedDict()
        self._looked_at = 0.0
        self._lock = threading.Lock()

    def vocabulary(self) -> tuple[str, Sequence[str]]:
        """The version and the names in force."""
        names = self._current()
        return names.version, names.names

    def warm_up(self) -> None:
        """Embed the names in force, so that no query waits for it."""
        self._current().space(self._embeddings, self._cache)

    def exact(self, text: str) -> str | None:
        """The category with that name; case, accents, punctuation and spaces do not count."""
        return self._current().exact(fold(text))

    def resolve(self, text: str) -> Resolution:
        """The category that ``text`` means, exactly, by its characters or by its meaning.

        Raises:
            StoreUnavailable: the vocabulary cannot be read.
        """
        text = text[:LONGEST_QUERY]
        names = self._current()
        folded = fold(text)
        if name := names.exact(folded) or names.reworded(folded):
            return Resolution(query=text, category=name, how="exact", confidence=1, suggestions=[])
        resolved = self._resolved
        resolution = resolved.get(folded)
        if resolution is None:
            resolution = self._resolve(names, folded)
            if not resolution.degraded:
                resolved[folded] = resolution
                while len(resolved) > CACHED_QUERIES:
                    resolved.popitem(last=False)
        return resolution.model_copy(update={"query": text})

    def suggest(self, text: str, limit: int = 8) -> list[str]:
        """Categories for what has been typed so far.

        Names that begin so come first, then names of which a word does, then likely misspellings
        and the trades that have what is typed. Nothing is embedded.
        """
        names = self._current()
        typed = fold(text[:LONGEST_QUERY])
        if not typed or not names.names:
            return []
        numbered = list(enumerate(names.folded))
        found = [
            *(i for i, name in numbered if name.startswith(typed)),
            *(i for i, name in numbered if f" {typed}" in name),
        ]
        if len(typed) >= SHORTEST_GUESSED:
            letters, asked_for = names.characters(telling_words(typed))
            alike = np.maximum.reduce([letters, names.by_trade(asked_for), names.beginning(typed)])
            found += [int(i) for i in np.argsort(-alike, kind="stable") if alike[i] >= LEAST_TYPED]
        return [names.names[i] for i in dict.fromkeys(found)][:limit]

    def _resolve(self, names: Names, folded: str) -> Resolution:
        asked = telling_words(folded)
        if not names.names or not any(map(names.spelling.tells, asked)):
            return Resolution(query="", category=None, how="none", confidence=0, suggestions=[])
        letters, asked_for = names.characters(asked)
        degraded = ""
        meaning = np.zeros_like(letters)
        try:
            if not _is_plain(letters, names.by_trade(asked_for)):
                readings = [asked, *names.spelling.readings(asked)]
                for meant in readings[1:2]:
                    meant_letters, meant_for = names.characters(meant)
                    letters = np.maximum(letters, RESPELT * meant_letters)
                    asked_for = np.maximum(asked_for, RESPELT * meant_for)
                meaning = self._meaning(names, readings, asked_for)
        except (StoreUnavailable, ConfigurationError) as error:
            log.warning("query %r resolved by its characters alone: %s", folded, error)
            degraded = str(error)
        total = CHARACTERS_WEIGHT * letters + meaning
        best, *others = (int(i) for i in np.argsort(-total, kind="stable")[: SUGGESTIONS + 1])
        least = LEAST_OF_WORDS if all(map(names.spelling.exists, asked)) else LEAST
        if total[best] < least:
            return Resolution(
                query="",
                category=None,
                how="none",
                confidence=0,
                suggestions=[names.names[i] for i in (best, *others) if total[i] > 0][:SUGGESTIONS],
                degraded=degraded,
            )
        return Resolution(
            query="",
            category=names.names[best],
            how="characters" if letters[best] >= LETTERS_DECIDE else "meaning",
            confidence=min(0.99, max(float(total[best]) / CERTAIN, float(letters[best]))),
            suggestions=[names.names[i] for i in others if total[i] >= LEAST_SUGGESTED],
            degraded=degraded,
        )

    def _meaning(
        self, names: Names, readings: Sequence[Sequence[str]], asked_for: np.ndarray
    ) -> np.ndarray:
        """How near (N,) the names are in meaning, and the trades that they are of.

        Args:
            readings: the folded words of the query, then what may have been meant.
            asked_for: likeness (T,) of the thesaurus to them by letters.
        """
        space = names.space(self._embeddings, self._cache)
        vectors = self._embeddings([" ".join(reading) for reading in readings])
        to_names = _nearness(vectors, space.names, MEANING_RANGE).reshape(2, -1).max(axis=0)
        to_texts = _nearness(vectors, space.texts, ASKED_FOR_RANGE)
        return to_names + TRADE_WEIGHT * names.by_trade(np.maximum(to_texts, asked_for))

    def _current(self) -> Names:
        """The names in force; read again only when their version is another one."""
        now = time.monotonic()
        names = self._names
        # A directory that is being filled has its first pictures within seconds: none is no answer
        # to go on with.
        if names is not None and names.names and now - self._looked_at < self._refresh_every:
            return names
        with self._lock:
            version = self._directory.vocabulary_version()
            if self._names is None or self._names.version != version:
                vocabulary = self._directory.vocabulary()
                self._names = Names(version, vocabulary, self._thesaurus, self._pieces)
                self._resolved = OrderedDict()
            self._looked_at = now
            return self._names


def _is_plain(letters: np.ndarray, trades: np.ndarray) -> bool:
    """Whether one of the likenesses (N,) is high, and neither another name nor its trade near."""
    best = int(letters.argmax())
    others = np.delete(np.maximum(letters, trades), best)
    enough = letters[best] >= LETTERS_SUFFICE
    return bool(enough and others.max(initial=0) <= letters[best] - FAR_BEHIND)


def _nearness(readings: np.ndarray, texts: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Nearness (T,) of texts (T, D) to the readings (R, D) of a query, the typed one first."""
    # Not as a product of matrices: that is shared out to threads, which on a busy machine wait for
    # each other longer than they compute.
    nearness = scale(np.einsum("rd,td->rt", readings, texts), span)
    nearness[1:] *= RESPELT
    return nearness.max(axis=0)
