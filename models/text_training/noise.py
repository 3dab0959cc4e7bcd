"""Spelling as people type it."""

import re
from collections.abc import Mapping

import numpy as np

SHORTEST = 4
"""Letters of a word that may be misspelt: shorter ones become other words."""

VOWELS = "aeiou"

NEIGHBOURS = {
    letter: row[max(0, at - 1) : at] + row[at + 1 : at + 2]
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for at, letter in enumerate(row)
}
"""Of each letter the keys to its left and right."""

_WORD = re.compile(rf"[^\W\d_]{{{SHORTEST},}}")


def misspellings(text: str, share: float, random: np.random.Generator) -> dict[str, str]:
    """Of each word of four letters or more, with probability `share`, how it is misspelt.

    A letter is left out, doubled, swapped with the next or struck beside its key; or a vowel is
    put in or taken for another, as names from other scripts are spelt. The first letter stays.

    Returns words in lower case to what is written for them.
    """
    words = dict.fromkeys(word.lower() for word in _WORD.findall(text))
    return {word: _misspelt(word, random) for word in words if random.random() < share}


def respelt(text: str, words: Mapping[str, str]) -> str:
    """The text with each of these words written so; its first letter is as large as it was."""

    def write(found: re.Match[str]) -> str:
        word = found[0]
        return word[0] + words.get(word.lower(), word)[1:]

    return _WORD.sub(write, text)


def _misspelt(word: str, random: np.random.Generator) -> str:
    at = int(random.integers(1, len(word)))
    before, letter, after = word[:at], word[at], word[at + 1 :]
    vowel = VOWELS[int(random.integers(len(VOWELS)))]
    match int(random.integers(5)):
        case 0:
            return before + after
        case 1:
            return before + letter + letter + after
        case 2:
            return before + after[:1] + letter + after[1:]
        case 3:
            near = NEIGHBOURS.get(letter, letter)
            return before + near[int(random.integers(len(near)))] + after
        case _:
            if letter in VOWELS:
                return before + vowel + after
            return before + vowel + letter + after
