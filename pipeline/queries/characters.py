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
        self._first = np.array([sound[:1] for sound in self._sounds], dtype=object)

    def likeness(self, asked: Sequence[str]) -> np.ndarray:
        """Likeness (Q, W) of each asked word to each of ours, 0..1."""
        alike = process.cdist(asked, self.words, scorer=fuzz.ratio) / np.float32(100)
        for row, word in zip(alike, asked, strict=True):
            sound = jellyfish.metaphone(word) or word
            row[self._first != sound[:1]] *= OTHER_FIRST_SOUND
            same = self._sounds == sound
            row[same] += SAME_SOUND * (1 - row[same])
        return alike


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
        # The stems of all texts one after the other, and where each text begins.
        self._stem_of = np.array([self._position[s] for text in own for s in text], dtype=np.intp)
        self._lengths = np.array([len(text) for text in own], dtype=np.intp)
        self._worded = np.flatnonzero(self._lengths)
        self._begins = (np.cumsum(self._lengths) - self._lengths)[self._worded]

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
        found = np.maximum(found, self._by_words(stems(asked), known))
        if len(asked) > 1:
            found = np.maximum(found, self._by_words(stems([joined]), [False]))
        return found

    def _by_words(self, asked: Sequence[str], known: Sequence[bool]) -> np.ndarray:
        if not self.stems:
            return np.zeros(len(self._joined), dtype=np.float32)
        alike = self._words.likeness(asked)
        for row, stem, exists in zip(alike, asked, known, strict=True):
            if exists or stem in self._position:
                row[row < 1] *= KNOWN_WORD
        alike[alike < WORD_LIKENESS] = 0
        nearest = alike.argmax(axis=1)
        weights = np.where(alike.max(axis=1) > 0, self._idf[nearest], self._unknown_idf)
        result = np.zeros(len(self._joined), dtype=np.float32)
        pairs = alike[:, self._stem_of]  # (Q, P): a column for every word of every text
        of_each = np.maximum.reduceat(pairs, self._begins, axis=1)  # (Q, worded texts)
        of_query = weights @ of_each / weights.sum()
        idf = self._idf[self._stem_of]
        covered = np.add.reduceat(idf * pairs.max(axis=0), self._begins)
        of_text = covered / np.add.reduceat(idf, self._begins)
        likeness = QUERY_SHARE * of_query + (1 - QUERY_SHARE) * of_text
        result[self._worded] = np.where(of_query > 0, likeness, 0)
        return result
