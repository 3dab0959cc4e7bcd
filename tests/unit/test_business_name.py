"""Whether a photo's text names its business."""

import pytest

from models.reader import ReadText, TextLine
from pipeline.business_name import FOUND, name_likeness
from tasks.describe import text_flags


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Café Roma", "CAFE ROMA"),
        ("Café Roma", "Welcome to\nCafe\nRoma"),
        ("Breakfast Menu", "BREAKFASTMENU since 1990"),
        ("Golden Dragon", "GOLDEN DRAG0N restaurant"),
        ("上海小笼", "上海小笼包"),
    ],
)
def test_a_name_is_found_through_case_accents_line_ends_and_a_misread_letter(name, text):
    assert name_likeness(name, text) >= FOUND


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Café Roma", "Cafe"),
        ("Golden Dragon", "Golden Gate"),
        ("Golden Dragon", "Open daily from nine, dragged in gold"),
        ("Golden Dragon", ""),
    ],
)
def test_a_part_of_a_name_or_other_words_are_not_the_name(name, text):
    assert name_likeness(name, text) < FOUND


@pytest.mark.parametrize("name", ["", "Bo", "B & B", "!!!"])
def test_of_a_name_too_short_to_be_sought_nothing_is_known(name):
    assert name_likeness(name, "Bo B B anything") is None
    flags, measures = text_flags(ReadText(), name)
    assert flags["shows_name"] is None
    assert measures["name"] is None


def test_a_photo_full_of_text_is_text_heavy_and_each_flag_has_its_measure():
    menu = ReadText(tuple(TextLine("Pizza Roma 9.50", 0.95, 0.05) for _ in range(6)))
    flags, measures = text_flags(menu, "Pizza Roma")
    assert flags == {"text_heavy": True, "watermarked": False, "shows_name": True}
    assert measures == {"text": pytest.approx(0.3), "watermark": 0.0, "name": 1.0}


def test_a_sign_does_not_make_a_photo_text_heavy():
    sign = ReadText((TextLine("OPEN", 0.95, 0.1),))
    assert text_flags(sign, "Pizza Roma")[0]["text_heavy"] is False
