"""Marks that somebody laid over a picture, known by the text read in it.

A mark that is only a drawing, or a name that could be a shop's own, goes unnoticed: it cannot be
told from what was before the camera.
"""

import re
from itertools import combinations

from rapidfuzz import fuzz

from models.reader import ReadText, TextLine

LIBRARIES = (
    "123rf",
    "adobestock",
    "alamy",
    "bigstock",
    "depositphotos",
    "dreamstime",
    "gettyimages",
    "istockphoto",
    "shutterstock",
    "vectorstock",
)
"""Picture libraries whose previews bear their name."""

CLAIM = re.compile(r"©|\(c\) ?(19|20)\d\d|\bcopyright|all rights reserved|watermark", re.I)
"""Words that nobody writes on what is photographed."""

CREDIT = re.compile(
    r"\bphotography\b|\bphotos? ?(by\b|:)|^@ ?\w|\bww+\.\w|\.(com|net|org|info|co\.uk|eu)\b",
    re.I,
)
"""What signs may say as well: it counts where marks are put, along the upper or lower edge."""

PROOF = re.compile(r"\b(sample|preview|proof|draft|specimen|do not copy)\b", re.I)
"""What counts where no sign would be: aslant."""

EDGE = 0.12
"""Share of the height, above and below, in which credits stand."""

SMALL = 0.04
"""Share of the area above which a line at the edge is a banner and not a credit."""

ASLANT = range(15, 76)
"""Degrees from the horizontal. Signs seen from aside fall by less."""

PARALLEL = 8.0
"""Degrees by which the repetitions of one mark differ at most."""

MARKED = 0.7
"""From this measure on a picture is taken to be marked."""


def watermark(text: ReadText) -> float:
    """How sure it is that a mark was laid over the picture, 0..1; 0: nothing says so.

    It is the reader's confidence in the line that says so: one that names a picture library or
    claims a right, a credit along an edge, a word such as "sample" aslant, or the same words aslant
    and in parallel twice.
    """
    single = [line.confidence for line in text.lines if _is_mark(line)]
    repeated = [
        min(one.confidence, other.confidence)
        for one, other in combinations(filter(_is_aslant, text.lines), 2)
        if abs(one.slope - other.slope) <= PARALLEL and _alike(one.text, other.text)
    ]
    return max([*single, *repeated], default=0.0)


def _is_mark(line: TextLine) -> bool:
    if _names_library(line.text) or CLAIM.search(line.text):
        return True
    if PROOF.search(line.text) and _is_aslant(line):
        return True
    at_edge = min(line.height, 1 - line.height) <= EDGE and line.area <= SMALL
    return at_edge and bool(CREDIT.search(line.text))


def _names_library(text: str) -> bool:
    letters = "".join(sign for sign in text.casefold() if sign.isalnum())
    # One or two letters of a faint mark are read wrongly; more would be another name.
    return any(name in letters or fuzz.ratio(name, letters) >= 85 for name in LIBRARIES)


def _is_aslant(line: TextLine) -> bool:
    return int(abs(line.slope)) in ASLANT


def _alike(one: str, other: str) -> bool:
    # The picture's border cuts repetitions off, so that one may be a part of the other.
    return min(len(one), len(other)) >= 4 and fuzz.partial_ratio(one, other) >= 80
