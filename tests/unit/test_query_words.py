"""Letters, spelling and the thesaurus, each by itself: no encoder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.queries.characters import CharacterIndex
from pipeline.queries.folding import MOST_WORDS, singular, telling_words
from pipeline.queries.spelling import Spelling
from pipeline.queries.thesaurus import Thesaurus

NAMES = ["coffee shops", "pet shops", "pet grooming", "motorcycle dealers", "gyms", "barbers"]


def nearest(query: str, known: bool = False) -> str:
    asked = query.split()
    likeness = CharacterIndex(NAMES).likeness(asked, [known] * len(asked))
    return NAMES[int(likeness.argmax())]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("cofee shop", "coffee shops"),
        ("shops cofee", "coffee shops"),
        ("moter cycle", "motorcycle dealers"),
        ("grooming for pets", "pet grooming"),
        ("kofi shops", "coffee shops"),
    ],
)
def test_slips_word_order_split_words_and_sounds_are_read_by_their_letters(
    query: str, name: str
) -> None:
    assert nearest(query) == name


def test_a_word_that_exists_is_not_taken_for_one_that_looks_like_it() -> None:
    index = CharacterIndex(NAMES)
    assert index.likeness(["burgers"], [True]).max() < index.likeness(["barbars"], [False]).max()
    assert index.likeness(["harbour"], [True]).max() == 0
    # "glass" is so near to "class" that it is not enough for words to exist: it has to cost them.
    classes = CharacterIndex(["yoga classes"])
    asked = ["yoga", "glasses"]
    assert classes.likeness(asked, [True, True])[0] < classes.likeness(asked, [True, False])[0]


def test_a_word_that_all_shops_have_makes_no_two_of_them_alike() -> None:
    likeness = CharacterIndex(["gift shops", "musical instrument shops"]).likeness(
        ["gitar", "shop"], [False, True]
    )
    assert likeness.max() < 0.6


def test_texts_without_words_and_no_texts_at_all_are_like_nothing() -> None:
    assert CharacterIndex(["", "gyms"]).likeness(["gym"], [True]) == pytest.approx([0, 1])
    assert CharacterIndex([]).likeness(["gym"], [True]).size == 0
    assert CharacterIndex([""]).likeness(["gym"], [True]).tolist() == [0]


@pytest.fixture(scope="module")
def spelling() -> Spelling:
    return Spelling({"mehendi", "physiotherapist"}, pieces=len)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("resturant", "restaurant"),
        ("fotografer", "photographer"),
        ("mehandi", "mehendi"),
        ("fisiotherapist", "physiotherapist"),
        ("drycleaning", "dry cleaning"),
    ],
)
def test_misspelt_words_are_read_as_words_of_the_language_or_of_the_directory(
    spelling: Spelling, typed: str, meant: str
) -> None:
    assert meant.split() in spelling.readings([typed])


def test_only_the_misspelt_word_of_a_query_is_respelt(spelling: Spelling) -> None:
    assert ["wedding", "photographer"] in spelling.readings(["wedding", "photografer"])
    assert spelling.readings(["wedding", "photographer"]) == []


def test_what_is_like_no_word_has_no_other_reading(spelling: Spelling) -> None:
    assert spelling.readings(["xqzvbk"]) == []
    assert spelling.readings(["ресторан"]) == []
    assert spelling.readings(["24x7"]) == []


def test_numbers_and_two_letters_say_nothing_unless_the_directory_has_them() -> None:
    spelling = Spelling({"ac"}, pieces=len)
    assert [spelling.tells(word) for word in ("ac", "ne", "404", "gym")] == [
        True,
        False,
        False,
        True,
    ]


TRADES = """
# what is asked for
hairdresser | hair salon: haircut; hair colour
dentist: Root canal;  toothache

baker:
"""


def test_the_thesaurus_is_a_text_file_of_trades_and_what_they_are_asked_for() -> None:
    thesaurus = Thesaurus.parse(TRADES)
    assert list(thesaurus.texts) == [
        "hairdresser",
        "hair salon",
        "haircut",
        "hair colour",
        "dentist",
        "root canal",
        "toothache",
        "baker",
    ]
    assert thesaurus.trade_of.tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert thesaurus.by_trade(np.arange(8.0)).tolist() == [3, 6, 7]


def test_a_category_is_of_the_trade_whose_name_is_near_it_and_of_none_if_none_is() -> None:
    thesaurus = Thesaurus.parse(TRADES)
    texts = np.eye(8, dtype=np.float32)
    near_hair_salon = 0.9 * texts[1] + 0.3 * texts[4]
    near_root_canal = texts[5]
    names = np.stack([near_hair_salon, near_root_canal] * 2)  # two forms of each
    trades, sure = thesaurus.related(names, texts)
    assert trades[0, 0] == 0
    assert sure[0].tolist() == pytest.approx([0.9, 0])
    assert sure[1].max() == 0  # what is asked for is no name of a trade


def test_the_packaged_thesaurus_is_well_formed() -> None:
    thesaurus = Thesaurus.load()
    assert len(thesaurus.texts) > 1000
    assert (np.diff(thesaurus.trade_of) >= 0).all()
    assert set(thesaurus.trade_of[thesaurus.is_name]) == set(thesaurus.trade_of)
    assert all(2 <= len(text) <= 60 for text in thesaurus.texts)


class _Counting:
    """Embeddings that count how often they are asked."""

    model = "counting"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.calls += 1
        return np.ones((len(texts), 4), dtype=np.float32)


def test_the_thesaurus_is_embedded_once_for_all_processes(tmp_path: Path) -> None:
    thesaurus = Thesaurus.parse(TRADES)
    embeddings: Any = _Counting()
    first = thesaurus.vectors(embeddings, tmp_path / "models")
    second = thesaurus.vectors(embeddings, tmp_path / "models")
    assert embeddings.calls == 1
    assert (first == second).all()
    embeddings.model = "another"
    thesaurus.vectors(embeddings, tmp_path / "models")
    assert embeddings.calls == 2


def test_a_folder_that_cannot_be_written_costs_time_not_answers(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    embeddings: Any = _Counting()
    vectors = Thesaurus.parse(TRADES).vectors(embeddings, tmp_path / "file" / "models")
    assert vectors.shape == (8, 4)


def test_filler_is_passed_over_unless_there_is_nothing_else() -> None:
    assert telling_words("where can i get the best haircut near me") == ["haircut"]
    assert telling_words("near me") == ["near", "me"]
    assert len(telling_words("word " * 200)) == MOST_WORDS


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        ("pharmacies", "pharmacy"),
        ("churches", "church"),
        ("classes", "class"),
        ("gyms", "gym"),
        ("glass", "glass"),
        ("bus", "bus"),
        ("boxes", "box"),
        ("shoes", "shoe"),
    ],
)
def test_singular(word: str, stem: str) -> None:
    assert singular(word) == stem
