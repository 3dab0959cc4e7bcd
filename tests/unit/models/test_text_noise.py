import numpy as np
import pytest
from rapidfuzz.distance import OSA

from models.text_training.noise import misspell

TEXT = "Bridal mehndi designs for hands and feet"


def test_a_misspelt_word_is_one_slip_from_the_word() -> None:
    random = np.random.default_rng(0)
    seen = {misspell("mehndi", 1.0, random) for _ in range(300)}
    assert len(seen) > 30
    assert all(OSA.distance("mehndi", each) <= 1 for each in seen)
    assert all(each.startswith("m") for each in seen)


def test_short_words_numbers_and_spaces_stay() -> None:
    random = np.random.default_rng(0)
    assert misspell("spa at 560001, 2nd floor", 1.0, random).startswith("spa at 560001, 2nd ")


def test_the_same_seed_misspells_in_the_same_way() -> None:
    first, again = (misspell(TEXT, 0.5, np.random.default_rng(3)) for _ in range(2))
    assert first == again != TEXT


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_share_of_words_that_are_tried_is_as_asked(share: float) -> None:
    random = np.random.default_rng(0)
    words = " ".join(["mehndi"] * 2000)
    changed = sum(word != "mehndi" for word in misspell(words, share, random).split())
    # Two letters swapped that are the same change nothing; there are none here.
    assert changed / 2000 == pytest.approx(share, abs=0.06)
