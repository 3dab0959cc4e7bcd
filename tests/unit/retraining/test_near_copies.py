"""Near copies are in one group, others are not."""

import random

import numpy as np
import pytest
from rapidfuzz.distance import Indel

from pipeline.retraining.near_copies import CUTOFF, groups


def sets(texts: list[str], **options) -> set[frozenset[str]]:
    found: dict[int, set[str]] = {}
    for text, leader in zip(texts, groups(texts, **options), strict=True):
        found.setdefault(int(leader), set()).add(text)
    return {frozenset(one) for one in found.values()}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cafe", "cafes"),
        ("cofee shop", "coffee shop"),
        ("nail salon", "salon nail"),
        ("plumber in delhi", "plumber in delhi ncr"),
        ("ac-repair", "ac repair"),
    ],
)
def test_near_copies_are_in_one_group(one, other):
    assert len(sets([one, other])) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("ac repair", "tv repair"), ("nail salon", "hair salon"), ("dosa", "dose"), ("?", "!")],
)
def test_other_things_are_not(one, other):
    assert len(sets([one, other])) == 2


def test_copies_of_copies_are_in_one_group_as_well():
    chain = ["photographers", "photographer", "photograpers", "fotograpers"]
    assert sets([*chain, "plumber"]) == {frozenset(chain), frozenset({"plumber"})}


def test_links_hold_together_what_says_something_else():
    texts = ["a cup of coffee", "an espresso", "a dog"]
    assert sets(texts, links=[(1, 0)]) == {frozenset(texts[:2]), frozenset(texts[2:])}


def test_nothing_is_in_no_group():
    assert groups([]).shape == (0,)


def test_no_near_copy_is_missed_whatever_its_length(monkeypatch):
    monkeypatch.setattr("pipeline.retraining.near_copies.ROWS_AT_ONCE", 7)
    chance = random.Random(3)
    texts = {"".join(chance.choices("ab c", k=chance.randint(1, 12))).strip() for _ in range(150)}
    chosen = sorted({" ".join(sorted(text.split())) for text in texts} - {""})
    found = groups(chosen)
    for at, one in enumerate(chosen):
        for behind, other in enumerate(chosen[:at]):
            if Indel.normalized_similarity(one, other) >= CUTOFF:
                assert found[at] == found[behind]
    assert np.array_equal(found, groups(chosen))
