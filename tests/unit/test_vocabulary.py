"""Word weights and the background set."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.stores.documents_sqlite import SqliteDocuments
from pipeline.vocabulary import (
    WordWeights,
    choose_background,
    current_background,
    weighted_mean,
    words,
)

NAMES = [f"Category {number}" for number in range(400)]
FILLERS = [f"filler {number}" for number in range(400)]


@pytest.fixture
def documents(tmp_path: Path) -> Iterator[SqliteDocuments]:
    store = SqliteDocuments(f"sqlite:///{tmp_path}/documents.db")
    yield store
    store.close()


def test_words_are_letters_in_lower_case() -> None:
    assert words("Wi-Fi & Café_Bars 24") == ["wi", "fi", "café", "bars"]


def test_idf_is_the_smoothed_formula() -> None:
    weights = WordWeights(["Pet Shops", "Shoe Shops", "Pet Pet Grooming"])
    assert weights.idf("shops") == pytest.approx(math.log(4 / 3) + 1)
    assert weights.idf("pet") == pytest.approx(math.log(4 / 3) + 1)
    assert weights.idf("shoe") == pytest.approx(math.log(4 / 2) + 1)
    assert weights.idf("unheard") == pytest.approx(math.log(4 / 1) + 1)


def test_a_repeated_word_weighs_as_often_as_it_is_said() -> None:
    weights = WordWeights(["Pet Shops", "Shoe Shops"])
    assert weights.of("Pet PET") == pytest.approx({"pet": 2 * weights.idf("pet")})
    assert weights.of("24/7") == {}


def test_a_weighted_mean_has_unit_length() -> None:
    mean = weighted_mean([3.0, 1.0], np.eye(2, dtype=np.float32))
    assert mean == pytest.approx(np.array([3, 1]) / math.sqrt(10))


def test_a_large_vocabulary_is_sampled_and_not_filled_up() -> None:
    background = choose_background(NAMES, FILLERS, 256, 32)
    assert len(set(background.names)) == 256
    assert set(background.names) <= set(NAMES)


def test_a_small_vocabulary_is_filled_up() -> None:
    background = choose_background(NAMES[:3], FILLERS, 256, 32)
    assert set(NAMES[:3]) < set(background.names)
    assert len(background.names) == 3 + 128


def test_the_sample_does_not_depend_on_the_order_of_the_names() -> None:
    assert choose_background(NAMES, [], 64, 32) == choose_background(NAMES[::-1], [], 64, 32)


def test_one_more_name_changes_one_place_at_most() -> None:
    before = set(choose_background(NAMES, [], 64, 32).names)
    for new in ("Bakeries", "Bicycle Dealers", "Zoos"):
        after = set(choose_background([*NAMES, new], [], 64, 32).names)
        assert len(before - after) <= 1


def test_another_sample_has_another_version() -> None:
    versions = {choose_background(NAMES[:count], [], 256, 1).version for count in (10, 11, 12)}
    assert len(versions) == 3


def test_the_background_stays_until_the_vocabulary_has_doubled(documents: SqliteDocuments) -> None:
    first = current_background(documents, NAMES[:100], FILLERS, 256, 32)
    assert current_background(documents, NAMES[:199], FILLERS, 256, 32) == first
    doubled = current_background(documents, NAMES[:200], FILLERS, 256, 32)
    assert doubled.version != first.version
    assert current_background(documents, NAMES[:399], FILLERS, 256, 32) == doubled


def test_a_directory_of_a_few_names_keeps_its_background_while_it_grows_to_some(
    documents: SqliteDocuments,
) -> None:
    first = current_background(documents, NAMES[:2], FILLERS, 256, 32)
    assert current_background(documents, NAMES[:63], FILLERS, 256, 32) == first
    assert current_background(documents, NAMES[:64], FILLERS, 256, 32) != first
