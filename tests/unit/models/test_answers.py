import json

import pytest

from models.answers import read
from models.describer import ALT_TEXT_LENGTH
from models.errors import UnreadableAnswer
from models.prompts import Vision, VisionWithCategory

SAID = {
    "alt_text": "A red cup",
    "description": "A cup stands on a table. It is red.",
    "tags": ["cup", "red"],
    "category_match": 1,
}
WHOLE = json.dumps(SAID)


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        f"```json\n{WHOLE}\n```",
        f"```\n{WHOLE}",
        f"Sure! Here it is:\n{WHOLE}\nI hope that helps.",
        WHOLE.replace('"', "'"),
        WHOLE.replace("}", ",}").replace("]", ",]"),
        WHOLE.replace(', "tags"', '\n"tags"'),
        WHOLE.removeprefix("{"),
        json.dumps({**SAID, "mood": "calm"}),
        json.dumps({**SAID, "tags": "Cup, red, cup"}),
        json.dumps({**SAID, "alt_text": ["A", "red cup"]}),
        *(
            json.dumps({**SAID, "category_match": yes})
            for yes in (True, "1", "Yes", "yes, it is", 1.0)
        ),
    ],
)
def test_what_can_be_mended_is_read_as_if_it_were_right(text: str) -> None:
    assert read(text, VisionWithCategory).model_dump() == {**SAID, "category_match": True}


@pytest.mark.parametrize("text", ["", "I cannot help with that.", "null", "[1, 2]", "{}", "3"])
def test_what_holds_no_object_is_refused_and_shown(text: str) -> None:
    with pytest.raises(UnreadableAnswer, match="no JSON object") as raised:
        read(text, Vision)
    assert repr(text) in str(raised.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alt_text", " "),
        ("alt_text", None),
        ("description", 5),
        ("tags", [{"name": "cup"}]),
        ("category_match", "perhaps"),
        ("category_match", 0.7),
        ("category_match", None),
    ],
)
def test_a_value_that_does_not_fit_names_its_field(field: str, value: object) -> None:
    with pytest.raises(UnreadableAnswer, match=f"^{field}"):
        read(json.dumps({**SAID, field: value}), VisionWithCategory)


def test_every_missing_field_is_named() -> None:
    with pytest.raises(UnreadableAnswer, match=r"description: .*; tags: .*; category_match: "):
        read('{"alt_text": "A cup"}', VisionWithCategory)


@pytest.mark.parametrize("length", range(1, len(WHOLE)))
def test_no_half_word_of_an_answer_that_was_cut_off_is_used(length: int) -> None:
    try:
        found = read(WHOLE[:length], Vision)
    except UnreadableAnswer:
        return
    assert found.alt_text == SAID["alt_text"]
    assert found.description == SAID["description"]
    assert set(found.tags) <= {"cup", "red"}


def test_a_long_alt_text_ends_with_a_whole_word() -> None:
    text = read(json.dumps({**SAID, "alt_text": "longish " * 40}), Vision).alt_text
    assert ALT_TEXT_LENGTH - 8 < len(text) <= ALT_TEXT_LENGTH
    assert text.endswith("longish")
    endless = read(json.dumps({**SAID, "alt_text": "x" * 300}), Vision).alt_text
    assert len(endless) == ALT_TEXT_LENGTH
