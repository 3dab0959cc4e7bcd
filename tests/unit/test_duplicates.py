"""Which images look the same."""

import random

from pipeline.duplicates import duplicates


def digits(bits: int) -> str:
    return f"{bits:016x}"


def test_an_image_within_so_many_bits_is_a_duplicate_of_the_better_one() -> None:
    images = [(5, digits(0)), (9, digits(0b111)), (2, digits(0b1111)), (3, digits(2**64 - 1))]
    assert duplicates(images, bits=3) == {9: 5}
    assert duplicates(images, bits=4) == {9: 5, 2: 5}
    assert duplicates(images, bits=0) == {}


def test_what_is_like_a_duplicate_alone_is_none() -> None:
    images = [(1, digits(0)), (2, digits(0b11)), (3, digits(0b1111)), (4, digits(0b111111))]
    assert duplicates(images, bits=2) == {2: 1, 4: 3}


def test_an_image_whose_looks_are_not_known_is_like_none() -> None:
    assert duplicates([(1, ""), (2, ""), (3, digits(0))], bits=64) == {}
    assert duplicates([], bits=6) == {}


def test_it_finds_what_a_comparison_of_all_with_all_finds() -> None:
    pick = random.Random(3)
    shots = [pick.getrandbits(64) for _ in range(20)]
    images = []
    for number in range(300):
        bits = pick.choice(shots)
        for _ in range(pick.randrange(6)):
            bits ^= 1 << pick.randrange(64)
        images.append((number, bits))
    better: dict[int, int] = {}
    for place, (product_id, bits) in enumerate(images):
        for first, other in images[:place]:
            if first not in better and (bits ^ other).bit_count() <= 6:
                better[product_id] = first
                break
    assert len(better) > 200
    assert duplicates([(number, digits(bits)) for number, bits in images], 6) == better
