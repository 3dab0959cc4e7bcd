"""The rules of alt texts, and the candidates that pass them."""

import sys
import time
import unicodedata

import pytest

from pipeline.alt_text import (
    CONTROL,
    MOST_CHARACTERS,
    NOTHING_KNOWN,
    WORDS,
    Rule,
    broken_rules,
    candidates,
    plainest,
    tidied,
)

NAME = "Corner Café"


@pytest.mark.parametrize(
    "text",
    [
        "A red cup on a wooden table",
        "Close-up of a cup, in red and brown tones, with the text “A, B, C, D, E and more…”",
        "A woman holding a picture of her child",
        "Framed picture of a saint on a wall",
        "Picture frames on a wall",
        "Photography class with ten students",
        "A shot of espresso",
        "Tables, chairs, lamps and plants",
        "Corner Café at night",
        "3 cups of tea < 5 euros",
        "寿司の盛り合わせ",
        "“OPEN” on a door",
        "A" * MOST_CHARACTERS,
    ],
)
def test_a_plain_sentence_on_what_is_seen_breaks_no_rule(text: str) -> None:
    assert broken_rules(text, NAME) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", Rule.EMPTY),
        (" -- !", Rule.EMPTY),
        ("A" * (MOST_CHARACTERS + 1), Rule.TOO_LONG),
        ("A cup\non a table", Rule.SEVERAL_LINES),
        ("A cup\u2028on a table", Rule.SEVERAL_LINES),
        ("A cup\x00", Rule.SEVERAL_LINES),
        ("A <b>red</b> cup", Rule.MARKUP),
        ("<script>alert(1)</script>", Rule.MARKUP),
        ("A cup &amp; a saucer", Rule.MARKUP),
        ("Cup-final-2.JPG", Rule.FILE_NAME),
        ("IMG_2034", Rule.FILE_NAME),
        ("DSC 00123 of a cup", Rule.FILE_NAME),
        ("Image of a cup", Rule.CALLS_ITSELF_A_PICTURE),
        ("A photo of a cup", Rule.CALLS_ITSELF_A_PICTURE),
        ("A close-up photograph showing a cup", Rule.CALLS_ITSELF_A_PICTURE),
        ("This is a picture of a cup", Rule.CALLS_ITSELF_A_PICTURE),
        ("The image shows a cup", Rule.CALLS_ITSELF_A_PICTURE),
        ("In this photo, a cup stands on a table", Rule.CALLS_ITSELF_A_PICTURE),
        ("Photo: a cup", Rule.CALLS_ITSELF_A_PICTURE),
        ("Photo 3", Rule.CALLS_ITSELF_A_PICTURE),
        ("corner café!", Rule.ONLY_THE_NAME),
        ("Cafe, coffee, best coffee, cup, espresso", Rule.KEYWORDS),
        ("Cafe; coffee | best coffee, cup, espresso", Rule.KEYWORDS),
        ("a red cup", Rule.NO_CAPITAL),
        ("A red cup…", Rule.CUT_OFF),
        ("A red cup ... ", Rule.CUT_OFF),
    ],
)
def test_what_a_rule_forbids_is_named(text: str, rule: Rule) -> None:
    assert rule in broken_rules(text, NAME)


def test_control_characters_and_separators_of_lines_are_those_of_unicode() -> None:
    signs = [chr(code) for code in range(sys.maxunicode + 1)]
    forbidden = {sign for sign in signs if unicodedata.category(sign) in ("Cc", "Zl", "Zp")}
    assert set(CONTROL.findall("".join(signs))) == forbidden


def test_all_broken_rules_are_named_and_each_has_its_words() -> None:
    broken = broken_rules("photo of <i>a</i>, b, c, d, e...", NAME)
    assert broken == [
        Rule.MARKUP,
        Rule.CALLS_ITSELF_A_PICTURE,
        Rule.KEYWORDS,
        Rule.NO_CAPITAL,
        Rule.CUT_OFF,
    ]
    assert set(WORDS) == set(Rule)


@pytest.mark.parametrize("unit", [".", "<a", " ", "photo ", "“", "&a", "the ", "…", ",", "a-"])
def test_no_text_takes_long_to_judge(unit: str) -> None:
    text = unit * (500 // len(unit)) + "a"
    began = time.process_time()
    broken_rules(text, NAME)
    tidied(text)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("said", "tidy"),
    [
        ("an image of a red cup on\n a table.", "A red cup on a table."),
        ("The photo shows two dogs...", "Two dogs"),
        ("A red cup", "A red cup"),
        ("Photo", ""),
    ],
)
def test_what_a_model_says_is_brought_into_form(said: str, tidy: str) -> None:
    assert tidied(said) == tidy


def test_candidates_are_what_was_suggested_and_what_is_seen_as_far_as_they_pass() -> None:
    suggested = ["A photo of a red cup", "cup.jpg", "A, b, c, d, e", "", "A red cup"]
    assert candidates(suggested, ["espresso", "cup"], NAME) == [
        "A red cup",
        "Espresso at Corner Café",
        "Cup at Corner Café",
    ]
    assert candidates([], ["cup"], "") == ["Cup"]


def test_a_picture_of_which_nothing_is_known_has_a_text_that_passes() -> None:
    assert candidates([], [], NAME) == ["Seen at Corner Café"]
    assert candidates(["image.png"], [], "") == [NOTHING_KNOWN]
    for name in (NAME, "", "x" * 200, "Fish, chips, peas, pies, beer & Co.", "<b>"):
        assert broken_rules(plainest(name), name) == []
