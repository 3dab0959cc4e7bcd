"""Misspelt words as they were probably meant, so that the encoder is asked about words it knows."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import files

import jellyfish
import numpy as np

from pipeline.queries.characters import Words

SHORTEST = 3
# How much longer or shorter a word may have been meant.
MOST_LENGTH_APART = 2
LEAST_LIKENESS = 0.7
# What a word of the directory has ahead of one of the language, and a frequent one ahead of one
# ten times as rare.
OWN = 0.08
PER_TENFOLD = 0.015
# What two words written as one are worth as a reading, beside words that differ by letters.
HALVES = 0.8
# A second reading is worth embedding if it is almost as likely.
NEARLY = 0.04


class Spelling:
    """Knows the words of the language and of the directory.

    Args:
        own: words of the directory.
        pieces: into how many pieces the text encoder breaks a word; 1: a word it knows.
    """

    def __init__(self, own: Iterable[str], pieces: Callable[[str], int]) -> None:
        self._own = frozenset(own)
        self._pieces = pieces
        self._language = English.load()
        self._shelves = (Shelves(self._own), self._language.shelves)

    def exists(self, word: str) -> bool:
        """Whether it is a word of the directory or of the language, or one the encoder knows."""
        return (
            len(word) < SHORTEST
            or not word.isalpha()
            or self._is_ours(word)
            or self._pieces(word) == 1
        )

    def tells(self, word: str) -> bool:
        """Whether it can mean something by itself; two letters only if the directory has them."""
        return not word.isdecimal() and (len(word) >= SHORTEST or word in self._own)

    def readings(self, asked: Sequence[str]) -> list[list[str]]:
        """What may have been meant, most likely first; empty if nothing but what was typed."""
        meant = [[word] if self.exists(word) else self._corrections(word) for word in asked]
        first = [words[0] for words in meant]
        if first == list(asked):
            return []
        found = [first]
        for place, words in enumerate(meant):
            if len(words) > 1:
                found.append([*first[:place], words[1], *first[place + 1 :]])
                break
        return [" ".join(words).split() for words in found]

    def _corrections(self, word: str) -> list[str]:
        """The two likeliest readings at most; the word itself, if it is like none."""
        found: dict[str, float] = {}
        for shelves in self._shelves:
            for words in shelves.near(word):
                alike = words.likeness([word])[0]
                for place in np.flatnonzero(alike >= LEAST_LIKENESS):
                    other = words.words[place]
                    found[other] = float(alike[place]) + self._advantage(other)
        if halves := self._halves(word):
            rarer = min(map(self._language.magnitude, halves))
            found[" ".join(halves)] = HALVES + PER_TENFOLD * rarer
        ranked = sorted(found, key=lambda other: (-found[other], other))[:2]
        return [other for other in ranked if found[other] >= found[ranked[0]] - NEARLY] or [word]

    def _advantage(self, word: str) -> float:
        own = OWN if word in self._own else 0.0
        return own + PER_TENFOLD * self._language.magnitude(word)

    def _halves(self, word: str) -> tuple[str, ...]:
        """Two words written as one: the split whose rarer half is the most frequent."""
        cuts = range(SHORTEST, len(word) - SHORTEST + 1)
        splits = [(word[:cut], word[cut:]) for cut in cuts]
        known = [halves for halves in splits if all(map(self._is_ours, halves))]
        return max(known, key=lambda halves: min(map(self._language.magnitude, halves)), default=())

    def _is_ours(self, word: str) -> bool:
        return word in self._own or word in self._language.counts


class Shelves:
    """Words by how they begin and how long they are."""

    def __init__(self, words: Iterable[str]) -> None:
        lists: dict[tuple[str, int], list[str]] = {}
        for word in sorted(words):
            for beginning in _beginnings(word):
                lists.setdefault((beginning, len(word)), []).append(word)
        # All at once, in a twentieth of a second: queries would wait for theirs one by one, and
        # the process would grow with them.
        self._shelves = {shelf: Words(some) for shelf, some in lists.items()}

    def near(self, word: str) -> Iterator[Words]:
        """Words that begin like this one, by letter or by sound, and are about as long."""
        for beginning in _beginnings(word):
            for apart in range(-MOST_LENGTH_APART, MOST_LENGTH_APART + 1):
                if words := self._shelves.get((beginning, len(word) + apart)):
                    yield words


class English:
    """English words and how often they are written: the dictionary that symspellpy carries."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.counts = counts
        self.shelves = Shelves(counts)

    @classmethod
    @functools.cache
    def load(cls) -> "English":
        """The dictionary, read once."""
        source = files("symspellpy").joinpath("frequency_dictionary_en_82_765.txt")
        lines = source.read_text(encoding="utf-8-sig").splitlines()
        pairs = (line.split(" ") for line in lines if line)
        return cls({word: int(count) for word, count in pairs if len(word) >= SHORTEST})

    def magnitude(self, word: str) -> float:
        """How often the word is written, as a power of ten above a thousand."""
        return max(0.0, math.log10(self.counts.get(word, 1000) / 1000))


def _beginnings(word: str) -> set[str]:
    return {word[0], jellyfish.metaphone(word)[:1].lower() or word[0]}
