"""What a person typed, as a category of the directory.

Misspelt and colloquial queries are the normal case: "resturant" is read by its characters,
"haircut" by its meaning, and where both point at one name they add up.
"""

import logging
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from rapidfuzz import fuzz, process

from pipeline.embeddings import TextEmbeddings
from pipeline.errors import ConfigurationError, StoreUnavailable
from pipeline.vocabulary import WordWeights, words

log = logging.getLogger(__name__)

# Words are taken for each other from this likeness on (0..1, normalised edit distance).
WORD_LIKENESS = 0.7
# A name that holds the query is worth more than a query that holds the name: what is left of a
# name is mostly "Shops" or "Dealers".
QUERY_SHARE = 0.7

# Slips of the finger and of the ear seldom change a word's first letter.
OTHER_FIRST_LETTER = 0.85

# A cosine says more when few names come near it: what a name is ahead of the fourth best is added.
RIVALS = 3
# Where each measure begins to say something, and where it is sure. For sentence embeddings,
# unrelated short texts lie at cosines up to 0.4 and a name and its plural at 0.9.
CHARACTERS_RANGE = (0.45, 0.95)
MEANING_RANGE = (0.35, 0.85)
# The least sum of both; below, a wrong category would do more harm than none.
LEAST_CONFIDENCE = 0.3
LEAST_SUGGESTED = 0.4
# Characters that say so much would have decided without the meaning.
SURE = 0.5

# The meaning of a word as it was probably meant counts a little less than that of one typed so.
RESPELT = 0.8
LEAST_RESPELT_LENGTH = 4
MOST_RESPELT = 8

SUGGESTIONS = 5
# Longer queries are cut: no category's name is longer, and the work grows with the length.
LONGEST_QUERY = 200
CACHED_QUERIES = 4096

# What people add that says nothing about the category.
_FILLER = frozenset(
    ("best", "top", "good", "cheap", "famous", "popular", "nearby", "near", "me", "my", "the")
)


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
        refresh_every: seconds between two looks at the vocabulary's version.
    """

    def __init__(
        self,
        directory: Vocabulary,
        embeddings: TextEmbeddings,
        pieces: Callable[[str], int],
        refresh_every: float = 5.0,
    ) -> None:
        self._directory = directory
        self._embeddings = embeddings
        self._pieces = pieces
        self._refresh_every = refresh_every
        self._names: _Names | None = None
        self._looked_at = 0.0
        self._lock = threading.Lock()

    def vocabulary(self) -> tuple[str, Sequence[str]]:
        """The version and the names in force."""
        names = self._current()
        return names.version, names.names

    def warm_up(self) -> None:
        """Embed the names in force, so that no query waits for it."""
        self._current().vectors(self._embeddings)

    def exact(self, text: str) -> str | None:
        """The category with that name; case, accents, punctuation and spaces do not count."""
        return self._current().by_folded.get(fold(text))

    def resolve(self, text: str) -> Resolution:
        """The category that ``text`` means, exactly, by its characters or by its meaning.

        Raises:
            StoreUnavailable: the vocabulary cannot be read.
        """
        text = text[:LONGEST_QUERY]
        names = self._current()
        folded = fold(text)
        if name := names.by_folded.get(folded):
            return Resolution(query=text, category=name, how="exact", confidence=1, suggestions=[])
        resolution = names.cached(folded)
        if resolution is None:
            resolution = self._resolve(names, folded)
            if not resolution.degraded:
                names.cache(folded, resolution)
        return resolution.model_copy(update={"query": text})

    def suggest(self, text: str, limit: int = 8) -> list[str]:
        """Categories for what has been typed so far: beginnings first, then likely misspellings."""
        names = self._current()
        typed = fold(text[:LONGEST_QUERY])
        if not typed or not names.names:
            return []
        begins = [name for name in names.names if fold(name).startswith(typed)]
        holds = [name for name in names.names if f" {typed}" in f" {fold(name)}"]
        likeness = _scale(names.characters(typed), CHARACTERS_RANGE)
        alike = [
            names.names[i]
            for i in np.argsort(-likeness, kind="stable")
            if likeness[i] >= LEAST_CONFIDENCE
        ]
        return list(dict.fromkeys([*begins, *holds, *alike]))[:limit]

    def _resolve(self, names: "_Names", folded: str) -> Resolution:
        typed = _without_filler(folded)
        if not typed or not names.names:
            return Resolution(query="", category=None, how="none", confidence=0, suggestions=[])
        characters = _scale(names.characters(typed), CHARACTERS_RANGE)
        meaning = np.zeros_like(characters)
        degraded = ""
        try:
            meaning = self._meaning(names, typed)
        except (StoreUnavailable, ConfigurationError) as error:
            log.warning("query %r resolved by its characters alone: %s", folded, error)
            degraded = str(error)
        total = characters + meaning
        order = np.argsort(-total, kind="stable")[: SUGGESTIONS + 1]
        likely = [int(i) for i in order if total[i] >= LEAST_CONFIDENCE]
        if not likely:
            return Resolution(
                query="",
                category=None,
                how="none",
                confidence=0,
                suggestions=[names.names[i] for i in order[:SUGGESTIONS] if total[i] > 0],
                degraded=degraded,
            )
        best, *others = likely
        return Resolution(
            query="",
            category=names.names[best],
            how="characters" if characters[best] >= min(SURE, meaning[best]) else "meaning",
            confidence=float(1 - (1 - characters[best]) * (1 - meaning[best])),
            suggestions=[names.names[i] for i in others if total[i] >= LEAST_SUGGESTED],
            degraded=degraded,
        )

    def _meaning(self, names: "_Names", typed: str) -> np.ndarray:
        """Nearness (N,) of the names in meaning, 0..1, to what was typed or probably meant."""
        variants = [typed, *self._respelt(typed)]
        cosines = self._embeddings(variants) @ names.vectors(self._embeddings).T  # (V, N)
        if len(names.names) > RIVALS:
            field = np.partition(cosines, -RIVALS - 1)[:, -RIVALS - 1, None]
            cosines += np.maximum(cosines - field, 0.0)
        near = _scale(cosines, MEANING_RANGE)
        near[1:] *= RESPELT
        return near.max(axis=0)

    def _respelt(self, typed: str) -> list[str]:
        """The text with each word that the encoder does not know replaced by ones it knows."""
        variants = []
        asked = typed.split()
        for place, word in enumerate(asked):
            if len(word) >= LEAST_RESPELT_LENGTH and self._pieces(word) > 1:
                variants += [
                    " ".join([*asked[:place], known, *asked[place + 1 :]])
                    for known in sorted(_one_edit_away(word))
                    if self._pieces(known) == 1
                ]
        return variants[:MOST_RESPELT]

    def _current(self) -> "_Names":
        """The names in force; read again only when their version is another one."""
        now = time.monotonic()
        names = self._names
        if names is not None and now - self._looked_at < self._refresh_every:
            return names
        with self._lock:
            version = self._directory.vocabulary_version()
            if self._names is None or self._names.version != version:
                self._names = _Names(version, self._directory.vocabulary())
            self._looked_at = now
            return self._names


def fold(text: str) -> str:
    """Lower case, without accents and punctuation, single spaces."""
    plain = "".join(
        sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign)
    )
    return " ".join("".join(sign if sign.isalnum() else " " for sign in plain.casefold()).split())


def _without_filler(folded: str) -> str:
    """The query without what says nothing; all of it, if nothing would be left."""
    kept = [word for word in folded.split() if word not in _FILLER]
    return " ".join(kept) or folded


def _one_edit_away(word: str) -> set[str]:
    """Words made by one deletion, transposition, replacement or insertion, same first letter."""
    cuts = [(word[:i], word[i:]) for i in range(1, len(word) + 1)]
    return {
        *(left + right[1:] for left, right in cuts if right),
        *(left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1),
        *(left + letter + right[1:] for left, right in cuts if right for letter in ascii_lowercase),
        *(left + letter + right for left, right in cuts for letter in ascii_lowercase),
    } - {word}


def _singular(word: str) -> str:
    """A rough stem: enough to let "repairs" meet "repair"."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _scale(values: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    low, high = span
    return np.clip((values - low) / (high - low), 0.0, 1.0)


@dataclass
class _Names:
    """The vocabulary at one version, prepared for comparison."""

    version: str
    names: Sequence[str]
    by_folded: dict[str, str] = field(init=False)
    _vectors: np.ndarray | None = field(default=None, init=False)
    _cache: OrderedDict[str, Resolution] = field(default_factory=OrderedDict, init=False)

    def __post_init__(self) -> None:
        self.by_folded = {fold(name): name for name in reversed(self.names)}
        self._joined = [fold(name).replace(" ", "") for name in self.names]
        stems = [[_singular(word) for word in words(fold(name))] for name in self.names]
        self._stems = sorted({stem for name in stems for stem in name})
        weights = WordWeights([" ".join(name) for name in stems])
        self._idf = np.array([weights.idf(stem) for stem in self._stems], dtype=np.float32)
        # A word of the query that is like none of ours weighs as much as our rarest word.
        self._unknown_idf = weights.idf("")
        position = {stem: i for i, stem in enumerate(self._stems)}
        self._holds = np.zeros((len(self.names), len(self._stems)), dtype=np.float32)
        for row, name in enumerate(stems):
            self._holds[row, [position[stem] for stem in name]] = 1.0

    def vectors(self, embeddings: TextEmbeddings) -> np.ndarray:
        """Embeddings (N, D) of the names, made once."""
        if self._vectors is None:
            self._vectors = embeddings(self.names)
        return self._vectors

    def cached(self, folded: str) -> Resolution | None:
        """The resolution of a query that was asked before."""
        return self._cache.get(folded)

    def cache(self, folded: str, resolution: Resolution) -> None:
        """Keep a resolution; the oldest goes when there are too many."""
        self._cache[folded] = resolution
        while len(self._cache) > CACHED_QUERIES:
            self._cache.popitem(last=False)

    def characters(self, typed: str) -> np.ndarray:
        """Likeness (N,) of the names to a folded query, 0..1, by edit distance.

        The largest of three: as a whole, spaces aside ("icecream parlor"); word by word, each
        weighted by how rare it is, in any order and with words missing; and all words together
        as one ("moter cycle").
        """
        joined = typed.replace(" ", "")
        whole = process.cdist([joined], self._joined, scorer=fuzz.ratio)[0] / 100
        by_words = self._by_words([_singular(word) for word in typed.split()])
        as_one = self._by_words([_singular(joined)])
        return np.maximum.reduce([np.where(whole >= WORD_LIKENESS, whole, 0.0), by_words, as_one])

    def _by_words(self, asked: Sequence[str]) -> np.ndarray:
        alike = process.cdist(asked, self._stems, scorer=fuzz.ratio) / 100  # (Q, W)
        first = np.array([[word[:1] == stem[:1] for stem in self._stems] for word in asked])
        alike = np.where(first, alike, alike * OTHER_FIRST_LETTER)
        alike = np.where(alike >= WORD_LIKENESS, alike, 0.0)
        nearest = alike.argmax(axis=1)
        weights = np.where(alike.max(axis=1) > 0, self._idf[nearest], self._unknown_idf)
        # (N, Q): the likeness of each asked word to the name's word that is most like it
        found = (self._holds[:, None, :] * alike[None]).max(axis=2)
        of_query = found @ weights / weights.sum()
        own = self._holds * self._idf
        of_name = (own * alike.max(axis=0)).sum(axis=1) / np.maximum(own.sum(axis=1), 1e-9)
        return np.where(of_query > 0, QUERY_SHARE * of_query + (1 - QUERY_SHARE) * of_name, 0.0)
