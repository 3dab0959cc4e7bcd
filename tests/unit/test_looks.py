"""Which pictures look alike."""

import random

import numpy as np
import pytest

from pipeline import looks
from pipeline.looks import SIGNATURE_BITS, Looks, encoded, signature

LIMITS = {"bits": 6, "likely_bits": 14, "cosine": 0.97}


def turned(vector: np.ndarray, cosine: float, seed: int) -> np.ndarray:
    """A unit vector that has this cosine with a unit vector."""
    across = np.random.default_rng(seed).normal(size=vector.size)
    across -= (across @ vector) * vector
    across /= np.linalg.norm(across)
    return cosine * vector + np.sqrt(1 - cosine**2) * across


@pytest.fixture
def vector() -> np.ndarray:
    drawn = np.random.default_rng(3).normal(size=384)
    return drawn / np.linalg.norm(drawn)


def hashed(bits: int) -> str:
    """A perceptual hash that differs from that of 0 in so many bits."""
    return f"{(1 << bits) - 1:016x}"


def pair(bits: int, first: str, second: str) -> Looks:
    return Looks([[encoded(hashed(0), first), encoded(hashed(bits), second)]])


@pytest.mark.parametrize("cosine", [1.0, 0.9, 0.5, 0.0, -0.5])
def test_signatures_keep_the_angle_between_vectors(vector: np.ndarray, cosine: float) -> None:
    found = [
        int(signature(turned(vector, cosine, seed)), 16) ^ int(signature(vector), 16)
        for seed in range(40)
    ]
    share = np.mean([bits.bit_count() for bits in found]) / SIGNATURE_BITS
    assert share == pytest.approx(np.arccos(cosine) / np.pi, abs=0.02)


def test_a_signature_does_not_depend_on_the_length_of_a_vector(vector: np.ndarray) -> None:
    assert signature(vector) == signature(100 * vector)
    assert len(signature(vector)) == SIGNATURE_BITS // 4


def test_signatures_are_the_same_in_every_release() -> None:
    # What is stored is compared with what is made years later.
    assert signature(np.arange(-4.0, 4.0)).startswith("cdc763985240d6ca")


@pytest.mark.parametrize(
    ("bits", "cosine", "are_copies"),
    [(6, -1.0, True), (7, 1.0, True), (14, 0.995, True), (14, 0.9, False), (15, 1.0, False)],
)
def test_copies_are_told_by_the_hash_or_by_hash_and_vector_together(
    vector: np.ndarray, bits: int, cosine: float, are_copies: bool
) -> None:
    alike = pair(bits, signature(vector), signature(turned(vector, cosine, 1)))
    assert alike.twins(**LIMITS) == [{1: 0} if are_copies else {}]


def test_without_a_signature_the_hash_alone_tells_copies(vector: np.ndarray) -> None:
    for first, second in (("", ""), (signature(vector), "")):
        assert pair(6, first, second).twins(**LIMITS) == [{1: 0}]
        assert pair(7, first, second).twins(**LIMITS) == [{}]


def test_nothing_is_like_a_picture_whose_looks_are_not_known(vector: np.ndarray) -> None:
    known = encoded(hashed(0), signature(vector))
    alike = Looks([[known, b"", b""], [known]])
    assert alike.twins(**LIMITS) == [{}, {}]
    assert alike.likeness(np.array([0, 0])).tolist() == [[1, 0, 0], [1, 0, 0]]
    assert alike.likeness(np.array([1, 0])).tolist() == [[0, 0, 0], [1, 0, 0]]


def test_pictures_are_compared_within_their_group(vector: np.ndarray) -> None:
    alike = Looks([[encoded(hashed(0), "")], [], [encoded(hashed(40), ""), encoded(hashed(2), "")]])
    assert alike.twins(**LIMITS) == [{}, {}, {}]
    assert alike.likeness(np.array([0, 0, 1])).shape == (3, 2)


def test_of_pictures_that_look_the_same_the_first_is_none_of_the_twins() -> None:
    same = [encoded(hashed(0), "")] * 3
    assert Looks([same, same[:2]]).twins(**LIMITS) == [{1: 0, 2: 0}, {1: 0}]


def test_what_is_like_a_twin_alone_is_none() -> None:
    row = [encoded(hashed(bits), "") for bits in (0, 5, 10, 15)]
    assert Looks([row]).twins(**LIMITS) == [{1: 0, 3: 2}]


def test_many_pictures_are_compared_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    pick = random.Random(3)
    shots = [pick.getrandbits(64) for _ in range(9)]
    groups = [
        [
            encoded(
                f"{pick.choice(shots) ^ (1 << pick.randrange(64)) ^ pick.randrange(64):016x}", ""
            )
            for _ in range(size)
        ]
        for size in (70, 100)
    ]
    at_once = Looks(groups).twins(**LIMITS)
    assert all(len(twins) > 40 for twins in at_once)
    monkeypatch.setattr(looks, "PAIRS_AT_ONCE", 600)
    assert Looks(groups).twins(**LIMITS) == at_once


def test_likeness_is_what_hash_or_vector_say_whichever_is_more(vector: np.ndarray) -> None:
    place = np.array([0])
    own, other = signature(vector), signature(turned(vector, 0.5, 1))
    assert pair(8, "", "").likeness(place)[0, 1] == pytest.approx(0.75)
    assert pair(40, "", "").likeness(place)[0, 1] == 0
    assert pair(40, own, other).likeness(place)[0, 1] == pytest.approx(0.5, abs=0.2)
    assert pair(40, own, own).likeness(place)[0, 1] == 1
    assert pair(0, own, other).likeness(place)[0, 1] == 1


def test_no_pictures_at_all_are_no_trouble() -> None:
    assert Looks([]).twins(**LIMITS) == []
    assert Looks([[], []]).twins(**LIMITS) == [{}, {}]
