import random

import numpy as np
import pytest

import models
from models.colours import dominant
from models.describer import ALT_TEXT_LENGTH
from models.image_text import Label
from models.reader import ReadText, TextLine
from pipeline.alt_text import broken_rules

DRYER = "hand blower, blow dryer, blow drier, hair dryer, hair drier"


@pytest.fixture(scope="module")
def describer(tmp_path_factory):
    return models.create("describer", "tags", weights=tmp_path_factory.mktemp("w"), threads=1)


def describe(describer, image, labels=(), lines=()):
    return describer(
        image,
        labels=[Label(*label) for label in labels],
        text=ReadText(tuple(TextLine(text, confidence, 0.05) for text, confidence in lines)),
        business="Zenith Dental",
        categories=["Dentists"],
    )


def test_a_sure_label_is_stated_in_everyday_words(describer, cat):
    made = describe(describer, cat, [(DRYER, 0.9)])
    assert "shows a hair dryer" in made.description
    assert made.alt_text.startswith("A hair dryer")
    assert made.tags[0] == "hair dryer"


def test_a_likely_label_is_hedged(describer, cat):
    made = describe(describer, cat, [("ambulance", 0.3)])
    assert "appears to show an ambulance" in made.description
    assert made.alt_text.startswith("Probably an ambulance")


def test_an_unlikely_label_is_not_stated(describer, cat):
    made = describe(describer, cat, [("ambulance", 0.08), ("minivan", 0.07)])
    assert "ambulance" not in made.description + made.alt_text
    assert "ambulance" not in made.tags


def test_stuff_and_plurals_have_no_article(describer, cat):
    assert "shows espresso," in describe(describer, cat, [("espresso", 0.9)]).description
    assert "shows jeans," in describe(describer, cat, [("jean, blue jean, denim", 0.9)]).description


def test_text_read_is_quoted_and_doubtful_text_is_not(describer, cat):
    made = describe(describer, cat, [("cup", 0.9)], [("HELLO", 0.95), ("xq7z", 0.4)])
    assert "“HELLO”" in made.description
    assert "“HELLO”" in made.alt_text
    assert "xq7z" not in made.description


def test_colours_are_named_and_tagged(describer):
    red = np.zeros((80, 120, 3), dtype=np.uint8)
    red[..., 0] = 200
    made = describe(describer, red)
    assert "red" in made.description
    assert "red" in made.alt_text
    assert made.tags == ("red",)


def test_a_muted_colour_is_not_called_grey():
    assert dominant(np.full((10, 10, 3), (120, 95, 80), dtype=np.uint8)) == ("brown",)
    assert dominant(np.full((10, 10, 3), 128, dtype=np.uint8)) == ("grey",)


@pytest.mark.parametrize(
    ("labels", "lines"),
    [
        ((), ()),
        ([("cup", 0.9)], [("word " * 40, 0.99)]),
        ([(DRYER, 0.25), ("typewriter keyboard", 0.24)], [("A" * 58, 0.99)]),
        ((), [('“quoted” "twice"', 0.99)]),
    ],
)
def test_alt_text_is_short_never_empty_and_does_not_call_itself_an_image(
    describer, cat, labels, lines
):
    made = describe(describer, cat, labels, lines)
    assert 0 < len(made.alt_text) <= ALT_TEXT_LENGTH
    assert "image of" not in made.alt_text.lower()
    assert made.alt_text.count("“") == made.alt_text.count("”") <= 1
    assert made.description
    assert made.tags


def test_every_alt_text_it_makes_keeps_the_rules(describer, conse, cat):
    pick = random.Random(5)
    small = cat[:60, :80]
    names = conse.background_names()
    read = [
        "50% OFF...",
        "menu, a, b, c, d, e",
        "photo of",
        "see cafe.jpg",
        "<b>",
        "a &amp; b",
        "x\ny",
    ]
    for name in names:
        labels = [(name, pick.random()), (pick.choice(names), pick.random())]
        lines = [(pick.choice(read), 0.99) for _ in range(pick.randrange(3))]
        made = describe(describer, small, labels, lines).alt_text
        assert broken_rules(made, "Zenith Dental") == [], made


def test_neither_the_business_nor_its_category_is_repeated_unseen(describer, cat):
    made = describe(describer, cat, [("tabby, tabby cat", 0.8)])
    said = " ".join([made.description, made.alt_text, *made.tags]).lower()
    assert "dent" not in said
    assert "zenith" not in said
    assert made.category_match is None
    assert made.made_from == "tags"


def test_the_same_picture_is_described_in_the_same_words(describer, cat):
    labels = [("tabby, tabby cat", 0.8)]
    assert describe(describer, cat, labels) == describe(describer, cat, labels)


def test_a_thing_before_a_plain_background_is_a_close_up(describer):
    picture = np.full((200, 200, 3), 255, dtype=np.uint8)
    picture[70:130, 70:130] = np.random.default_rng(3).integers(0, 255, (60, 60, 3))
    assert "close-up of a cup" in describe(describer, picture, [("cup", 0.9)]).alt_text.lower()
