"""Queries as people typed them, without those of programs and without junk."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.retraining.oov import terms

HOUR = 3600
# A person looks at what a query brings: two a minute for a whole hour is a program, or a household
# whose queries can be done without.
MOST_AN_HOUR = 120
# The same query of one visitor in a day: people come back, reload, and turn pages.
MOST_REPEATS = 3
# Longer is pasted, not typed.
LONGEST_TEXT = 100
MOST_TERMS = 12
# From this length on a Latin word has a vowel; shorter ones may be abbreviations: bmw, cctv.
LONGEST_ABBREVIATION = 4
LONGEST_CLUSTER = 5

_URL = re.compile(r"https?:|www\.|\b[\w-]+\.(?:com|org|net|in|io|co|info|biz|ru|cn)\b|[/\\]{2}")
_REPEATED_SIGN = re.compile(r"(.)\1{3,}")
_REPEATED_PAIR = re.compile(r"(..)\1{2,}")
_LATIN_WORD = re.compile(r"[a-z]+")
_CLUSTER = re.compile(rf"[bcdfghjklmnpqrstvwxz]{{{LONGEST_CLUSTER + 1},}}")
_KEYBOARD_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_KEYBOARD_RUN = 4


class Asked(NamedTuple):
    """A query of a visitor.

    Attributes:
        category: that it was taken to mean; empty: none.
        visitor: empty: not known.
        at: Unix time.
    """

    query: str
    category: str
    how: str
    confidence: float
    visitor: str
    at: float


def normalised(text: str) -> str:
    """The form in which queries are compared: NFKC, case folded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def without_bots(asked: Iterable[Asked]) -> tuple[list[Asked], Counter[str]]:
    """What people asked, and how much was dropped of what.

    All of a visitor's queries go where there are more than ``MOST_AN_HOUR`` in any hour; of the
    same query of one visitor, all but the first ``MOST_REPEATS``. What has no visitor stays.

    Args:
        asked: of one day, in the order of time: visitors have other names on the next.
    """
    by_visitor: defaultdict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        by_visitor[one.visitor].append(one)
    kept = by_visitor.pop("", [])
    dropped: Counter[str] = Counter()
    for own in by_visitor.values():
        if max(Counter(int(one.at // HOUR) for one in own).values()) > MOST_AN_HOUR:
            dropped["bot"] += len(own)
            continue
        times: Counter[str] = Counter()
        for one in own:
            times[query := normalised(one.query)] += 1
            if times[query] <= MOST_REPEATS:
                kept.append(one)
            else:
                dropped["repeated"] += 1
    return kept, dropped


def junk_reason(query: str) -> str:
    """Why a normalised query teaches nothing: a word for the data card; empty: it is none."""
    found = terms(query)
    if _URL.search(query):
        return "url"
    if not any(sign.isalpha() for sign in query):
        return "no letters"
    if len(query) > LONGEST_TEXT or len(found) > MOST_TERMS:
        return "too long"
    if all(map(is_gibberish, found)):
        return "gibberish"
    return ""


def is_gibberish(term: str) -> bool:
    """Whether a term is no word, as far as its letters show.

    It is, where a sign comes four times in a row or a pair of signs three times; and, of Latin
    letters alone, where more than four have no vowel (y is one), more than five consonants follow
    each other, or all of it lies side by side on a keyboard's row. Words with accents and of other
    scripts are not judged by their letters, and a query is junk only where every term of it is.
    """
    if _REPEATED_SIGN.search(term) or _REPEATED_PAIR.search(term):
        return True
    if not _LATIN_WORD.fullmatch(term) or len(term) < _KEYBOARD_RUN:
        return False
    if any(term in row or term in row[::-1] for row in _KEYBOARD_ROWS):
        return True
    if len(term) <= LONGEST_ABBREVIATION:
        return False
    return not set(term) & set("aeiouy") or _CLUSTER.search(term) is not None
