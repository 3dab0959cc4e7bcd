"""Which terms the champion's tokenizer does not know, and how much of a text they are.

The one definition, for the strata of the training data as for the slice that the primary metric is
measured on: a term is out of vocabulary (OOV) when the tokenizer needs more than one piece for it.
"""

import unicodedata
from collections.abc import Callable

Pieces = Callable[[str], int]

# Letters, digits and the marks that belong to them: without these a word in Devanagari falls apart.
_OF_TERMS = frozenset("LNM")


def terms(text: str) -> list[str]:
    """The terms of a text, in its order: runs of letters, digits and their marks, case folded."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    signs = (sign if unicodedata.category(sign)[0] in _OF_TERMS else " " for sign in folded)
    return "".join(signs).split()


def is_oov(term: str, pieces: Pieces) -> bool:
    """Whether a term is out of vocabulary.

    Args:
        term: as ``terms`` gives it.
        pieces: into how many pieces the champion's tokenizer breaks a term.
    """
    return pieces(term) > 1


def oov_share(text: str, pieces: Pieces) -> float:
    """The share 0..1 of a text's terms that are out of vocabulary; 0 where it has no terms."""
    found = terms(text)
    return sum(is_oov(term, pieces) for term in found) / len(found) if found else 0.0
