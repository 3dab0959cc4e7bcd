"""Spelling as people type it."""

import re

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


def misspell(text: str, share: float, random: np.random.Generator) -> str:
    """Misspells each word of four letters or more with probability `share`.

    A letter is left out, doubled, swapped with the next or struck beside its key; or a vowel is
    put in or taken for another, as names from other scripts are spelt. The first letter stays.
    """
    return _WORD.sub(
        lambda found: _misspelt(found[0], random) if random.random() < share else found[0], text
    )


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
            near = NEIGHBOURS.get(letter.lower(), letter)
            return before + near[int(random.integers(len(near)))] + after
        case _:
            if letter.lower() in VOWELS:
                return before + vowel + after
            return before + vowel + letter + after
