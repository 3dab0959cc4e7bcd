import numpy as np
import pytest
from rapidfuzz.distance import OSA

from models.text_training.data import Example, as_retrieval
from models.text_training.noise import misspellings, respelt
from models.text_training.recipe import Recipe
from models.text_training.train import Lesson, _datasets

TEXT = "Bridal mehndi designs for hands and feet"


def test_a_misspelt_word_is_one_slip_from_the_word() -> None:
    random = np.random.default_rng(0)
    seen = {misspellings("mehndi", 1.0, random)["mehndi"] for _ in range(300)}
    assert len(seen) > 30
    assert all(OSA.distance("mehndi", each) <= 1 for each in seen)
    assert all(each.startswith("m") for each in seen)


def test_short_words_and_numbers_are_not_misspelt() -> None:
    random = np.random.default_rng(0)
    assert set(misspellings("spa at 560001, 2nd floor", 1.0, random)) == {"floor"}


def test_the_same_seed_misspells_in_the_same_way() -> None:
    first, again = (misspellings(TEXT, 0.5, np.random.default_rng(3)) for _ in range(2))
    assert first == again != {}


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_share_of_words_that_are_misspelt_is_as_asked(share: float) -> None:
    random = np.random.default_rng(0)
    changed = sum(len(misspellings("mehndi", share, random)) for _ in range(2000))
    assert changed / 2000 == pytest.approx(share, abs=0.06)


def test_a_misspelt_word_is_written_so_wherever_it_is_a_word() -> None:
    words = {"mehndi": "mehndhi"}
    assert respelt("Mehndi, mehndi or mehndis", words) == "Mehndhi, mehndhi or mehndis"
    assert respelt("a spa", words) == "a spa"


def test_a_negative_has_the_odd_words_of_its_anchor() -> None:
    examples = [Example("mehandi", "henna art", f"no mehandi {number}") for number in range(20)]
    lesson = Lesson(examples, [], check=as_retrieval(examples))
    rows = _datasets(lesson, Recipe(noise=0.5), lambda texts: np.ones((len(texts), 2)))["triplets"]
    assert len({row["anchor"] for row in rows}) > 10
    assert all(row["negative"].split()[1] == row["anchor"] for row in rows)
