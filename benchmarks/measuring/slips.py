"""Misspellings of category names, as fingers and ears make them. Seeded."""

import random
import re
from collections.abc import Callable, Sequence

NEIGHBOURS = {
    letter: "".join(
        row[place]
        for row, place in [
            (row, other)
            for row in ("qwertyuiop", "asdfghjkl ", "zxcvbnm   ")
            for other in range(10)
            if abs(("qwertyuiop", "asdfghjkl ", "zxcvbnm   ").index(row) - own_row) <= 1
            and abs(other - own_place) <= 1
        ]
        if row[place] not in (" ", letter)
    )
    for own_row, keys in enumerate(("qwertyuiop", "asdfghjkl ", "zxcvbnm   "))
    for own_place, letter in enumerate(keys)
    if letter != " "
}

# Spellings by ear: what is written, and what some write instead.
BY_EAR = (
    ("ph", "f"),
    ("tion", "shun"),
    ("cian", "shian"),
    ("qu", "kw"),
    ("ck", "k"),
    ("ch", "k"),
    ("ea", "ee"),
    ("ee", "i"),
    ("ai", "e"),
    ("ou", "u"),
    ("oo", "u"),
    ("au", "o"),
    ("ie", "y"),
    ("er", "ar"),
    ("or", "er"),
    ("el", "le"),
    ("ll", "l"),
    ("tt", "t"),
    ("rr", "r"),
    ("ss", "s"),
    ("ce", "se"),
    ("ci", "si"),
    ("c", "k"),
    ("s", "z"),
    ("y", "i"),
    ("i", "e"),
    ("e", "i"),
    ("a", "e"),
    ("u", "a"),
)


def slipped_key(name: str, dice: random.Random) -> str:
    """One letter replaced by its neighbour on the keyboard."""
    place = _place(name, dice)
    return name[:place] + dice.choice(NEIGHBOURS[name[place]]) + name[place + 1 :]


def dropped(name: str, dice: random.Random) -> str:
    """One letter missing."""
    place = _place(name, dice)
    return name[:place] + name[place + 1 :]


def doubled(name: str, dice: random.Random) -> str:
    """One letter typed twice, or two letters in each other's place."""
    place = _place(name, dice)
    pair = name[place : place + 2]
    if dice.random() < 0.5 and len(pair) == 2 and pair.isalpha() and pair[0] != pair[1]:
        return name[:place] + pair[::-1] + name[place + 2 :]
    return name[:place] + name[place] + name[place:]


def by_ear(name: str, dice: random.Random) -> str:
    """Spelt as it sounds, in one place."""
    found = name
    for written, heard in dice.sample(BY_EAR, len(BY_EAR)):
        spots = [spot.start() for spot in re.finditer(written, name) if spot.start() > 0]
        if spots and found == name:
            spot = dice.choice(spots)
            found = name[:spot] + heard + name[spot + len(written) :]
    return found


def reordered(name: str, dice: random.Random) -> str:
    """Words in another order, one of them with a slip; a single word in the other number."""
    words = name.split()
    if len(words) == 1:
        return slipped_key(name[:-1] if name.endswith("s") else name + "s", dice)
    turned = [*words[1:], words[0]]
    place = max(range(len(turned)), key=lambda spot: len(turned[spot]))
    turned[place] = dice.choice((dropped, slipped_key))(turned[place], dice)
    return " ".join(turned)


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "slipped key": slipped_key,
    "dropped letter": dropped,
    "doubled letter": doubled,
    "by ear": by_ear,
    "word order": reordered,
}


def misspelt(names: Sequence[str], each: int, seed: int) -> list[tuple[str, str, str]]:
    """``each`` misspellings of every kind: kind, text, name. None is a name of the vocabulary."""
    dice = random.Random(seed)
    correct = {name.lower() for name in names}
    found: list[tuple[str, str, str]] = []
    for kind, slip in KINDS.items():
        texts: dict[str, str] = {}
        while len(texts) < each:
            name = dice.choice(names)
            text = slip(name.lower(), dice)
            if text not in correct:
                texts.setdefault(text, name)
        found += [(kind, text, name) for text, name in texts.items()]
    return found


def _place(name: str, dice: random.Random) -> int:
    """A letter that is not the first of its word, in a word of at least four if there is one."""
    spots = [
        spot.start() + inner
        for spot in re.finditer(r"[a-z]+", name)
        for inner in range(1, len(spot.group()))
        if len(spot.group()) > 3
    ]
    return dice.choice(spots or [len(name) - 1])
