"""Whether the text read in a photo says whose business it shows."""

import unicodedata

from rapidfuzz import fuzz

SHORTEST = 4
"""Names of fewer letters and digits are found by chance in any longer text."""

FOUND = 0.85
"""From this likeness on the name is taken to be there: one letter in seven may be read wrongly."""


def name_likeness(name: str, text: str) -> float | None:
    """How much of a business's name the text holds, 0..1; None: the name is too short to be sought.

    The whole name is sought, over the ends of lines too: "Cafe" alone is not "Cafe Roma". Case,
    accents, spaces and punctuation do not count.
    """
    sought, read = _letters(name), _letters(text)
    if len(sought) < SHORTEST:
        return None
    # Against a shorter text, a partial ratio would find that text in the name.
    compare = fuzz.partial_ratio if len(read) >= len(sought) else fuzz.ratio
    return compare(sought, read) / 100 if read else 0.0


def _letters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in plain if sign.isalnum())
