"""How alike a query and many texts are by their letters and by their sound."""

from collections.abc import Sequence

import jellyfish
import numpy as np
from rapidfuzz import fuzz, process

from pipeline.queries.folding import stems
from pipeline.vocabulary import WordWeights

# Words are taken for each other from this likeness on (0..1).
WORD_LIKENESS = 0.7
# Slips of the finger and of the ear seldom change a word's first sound.
OTHER_FIRST_SOUND = 0.85
# Of what the letters lack to be the same, words of the same sound are given this share.
SAME_SOUND = 0.5
# A word that exists was probably meant as it stands.
KNOWN_WORD = 0.8
# A text that holds the query is worth more than a query that holds the text: what is left of a
# category's name is mostly "Shops" or "Dealers".
QUERY_SHARE = 0.6


class Words:
    """Many words, prepared for being compared with a few.

    Sounds are compared by Metaphone (Philips 1990), letters by the normalised edit distance
    without replacements.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._sounds = np.array([jellyfish.metaphone(word) or word for word in words], dtype=object)
        self._first = np.array([_first(sound) for sound in self._sounds], dtype=np.int32)

    def likeness(self, asked: Sequence[str]) -> np.ndarray:
        """Likeness (Q, W) of each asked word to each of ours, 0..1."""
        alike = process.cdist(asked, self.words, scorer=fuzz.ratio) / np.float32(100)
        for row, word in zip(alike, asked, strict=True):
            sound = jellyfish.metaphone(word) or word
            near = self._first == _first(sound)
            row[~near] *= OTHER_FIRST_SOUND
            places = np.flatnonzero(near)
            same = places[self._sounds[places] == sound]
            row[same] += SAME_SOUND * (1 - row[same])
        return alike


def _first(sound: str) -> int:
    # Numbers are compared in a tenth of the time of texts.
    return ord(sound[0]) if sound else 0


class CharacterIndex:
    """Texts that are searched by their letters.

    Args:
        texts: folded.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._joined = [text.replace(" ", "") for text in texts]
        own = [stems(text.split()) for text in texts]
        self.stems = sorted({stem for text in own for stem in text})
        self._words = Words(self.stems)
        weights = WordWeights([" ".join(text) for text in own])
        self._idf = np.array([weights.idf(stem) for stem in self.stems], dtype=np.float32)
        # A word of the query that is like none of ours weighs as much as our rarest word.
        self._unknown_idf = np.float32(weights.idf(""))
        self._position = {stem: place for place, stem in enumerate(self.stems)}
        self._lengths = np.array([len(text) for text in own], dtype=np.intp)
        # The texts that have words. Of all their words, one after the other: which stem it is, of
        # which of those texts, and how rare it is.
        self._worded = np.flatnonzero(self._lengths)
        self._stem_of = np.array([self._position[s] for text in own for s in text], dtype=np.intp)
        self._text_of = np.repeat(np.arange(len(self._worded)), self._lengths[self._worded])
        self._idf_of = self._idf[self._stem_of]
        self._idf_of_text = _by_text(np.add, self._idf_of, self._lengths[self._worded])

    def likeness(self, asked: Sequence[str], known: Sequence[bool]) -> np.ndarray:
        """Likeness (N,) of the texts to a query, 0..1.

        The largest of three: as a whole, spaces aside, where there are more of them or fewer
        ("icecream parlor"); word by word, each weighted by how rare it is, in any order and with
        words missing; and all words together as one ("moter cycle").

        Args:
            asked: the folded words of the query.
            known: whether each is a word that exists.
        """
        if not self._joined:
            return np.zeros(0, dtype=np.float32)
        joined = "".join(asked)
        whole = process.cdist([joined], self._joined, scorer=fuzz.ratio)[0] / np.float32(100)
        divided_otherwise = (self._lengths != len(asked)) | (len(asked) == 1)
        found = np.where((whole >= WORD_LIKENESS) & divided_otherwise, whole, np.float32(0))
        if all(known):
            found = np.where(whole == 1, found, found * KNOWN_WORD)
        if not self.stems:
            return found
        one_by_one, as_one = stems(asked), stems([joined]) if len(asked) > 1 else []
        alike = self._words.likeness([*one_by_one, *as_one])
        words = len(one_by_one)
        found = np.maximum(found, self._by_words(one_by_one, known, alike[:words]))
        if as_one:
            found = np.maximum(found, self._by_words(as_one, [False], alike[words:]))
        return found

    def _by_words(
        self, asked: Sequence[str], known: Sequence[bool], alike: np.ndarray
    ) -> np.ndarray:
        for row, stem, exists in zip(alike, asked, known, strict=True):
            if exists or stem in self._position:
                row[row < 1] *= KNOWN_WORD
        alike[alike < WORD_LIKENESS] = 0
        nearest = alike.argmax(axis=1)
        weights = np.where(alike.max(axis=1) > 0, self._idf[nearest], self._unknown_idf)
        result = np.zeros(len(self._joined), dtype=np.float32)
        # Few texts have a word that is like any: the others are left at 0.
        has_any = np.zeros(len(self._worded), dtype=bool)
        has_any[self._text_of[np.logical_or.reduce(alike)[self._stem_of]]] = True
        texts = np.flatnonzero(has_any)
        if not texts.size:
            return result
        own = np.flatnonzero(has_any[self._text_of])
        lengths = self._lengths[self._worded[texts]]
        pairs = alike[:, self._stem_of[own]]  # (Q, P): a column for every word of those texts
        of_each = np.zeros((len(asked), len(self._worded)), dtype=np.float32)
        of_each[:, texts] = _by_text(np.maximum, pairs, lengths)
        of_query = weights @ of_each / weights.sum()
        covered = _by_text(np.add, self._idf_of[own] * pairs.max(axis=0), lengths)
        of_text = covered / self._idf_of_text[texts]
        likeness = QUERY_SHARE * of_query[texts] + (1 - QUERY_SHARE) * of_text
        result[self._worded[texts]] = np.where(of_query[texts] > 0, likeness, 0)
        return result


def _by_text(function: np.ufunc, of_words: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Values (..., P) of the words of texts, taken together by text: (..., T)."""
    return function.reduceat(of_words, np.cumsum(lengths) - lengths, axis=-1)
