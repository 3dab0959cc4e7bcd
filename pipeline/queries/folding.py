"""Texts brought to the form in which they are compared."""

import unicodedata
from collections.abc import Sequence

# Longer queries are cut: no category's name is longer, and the work grows with the length.
LONGEST_QUERY = 200
MOST_WORDS = 16

# What people add that says nothing about what they are looking for, in English and in Hindi.
FILLER = frozenset(
    """
    a an and any are around at best by can cheap cheapest close famous find for from get give good
    hello help hi how i im in is it its kindly looking me my near nearby nearest need of on one or
    our place please popular require required search show some someone something somewhere that the
    there this to top urgent urgently very want wanted we what whats where which who with you your
    aur chahiye hai hain ka kaha kahan kaise karna karne ke ki ko liye mein mera mere mujhe pe se
    """.split()
)


def fold(text: str) -> str:
    """Lower case, without accents and punctuation, single spaces."""
    plain = "".join(
        sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign)
    )
    return " ".join("".join(sign if sign.isalnum() else " " for sign in plain.casefold()).split())


def telling_words(folded: str) -> list[str]:
    """The words without what says nothing; all of them, if nothing would be left."""
    asked = folded.split()
    return ([word for word in asked if word not in FILLER] or asked)[:MOST_WORDS]


def singular(word: str) -> str:
    """A rough stem: enough to let "repairs" meet "repair", and "pharmacies" "pharmacy"."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")):
        return word[:-1]
    return word


def stems(words: Sequence[str]) -> list[str]:
    """The singular of each word."""
    return [singular(word) for word in words]
