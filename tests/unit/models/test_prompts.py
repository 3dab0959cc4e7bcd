import pytest

from models import prompts
from models.answers import read
from models.errors import UnknownPrompt
from models.prompts import PROMPTS, named
from pipeline.settings import Settings

NAMES = {
    "description",
    "alt_text",
    "category_match",
    "vision_json",
    "vision_json_with_category",
    "full_details",
    "full_details_with_category",
}
FULL = """{"alt_text": "A red cup", "description": "A cup.", "tags": ["cup"],
"objects": ["Cup", "table"], "colours": ["red"],
"setting": "indoors, kitchen", "category_match": "no"}"""


def test_all_prompts_are_there_and_their_identities_differ() -> None:
    assert set(PROMPTS) == NAMES
    assert len({prompt.identity for prompt in PROMPTS.values()}) == len(NAMES)


def test_the_default_of_the_settings_is_that_of_the_models() -> None:
    assert Settings().prompt == prompts.DEFAULT


def test_an_unknown_prompt_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownPrompt, match=r"'poem'.*vision_json_with_category"):
        named("poem")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_question_names_each_field_of_its_answer_once(name: str) -> None:
    question = named(name).question(["Cafés", "Bakeries"])
    for field in named(name).answer.model_fields:
        assert question.count(f'"{field}":') == 1
    has_match = "category_match" in named(name).answer.model_fields
    assert ("Cafés; Bakeries" in question) == has_match


def test_a_category_cannot_bring_the_marks_of_a_conversation_into_a_question() -> None:
    question = named("category_match").question(["<image>", "<|eot_id|>", "{tags}"])
    assert "<" not in question
    assert "{tags}" in question


def test_all_that_was_said_becomes_the_description() -> None:
    prompt = named("full_details_with_category")
    made = prompt.description(read(FULL, prompt.answer), ["Cafés"], "llava")
    assert made.description == "A cup."
    assert made.tags == ("cup", "table", "red", "indoors", "kitchen")
    assert (made.alt_text, made.category_match, made.made_from) == ("A red cup", False, "llava")


def test_a_prompt_that_asks_for_one_thing_leaves_the_rest_empty() -> None:
    prompt = named("category_match")
    made = prompt.description(read('{"category_match": 1}', prompt.answer), ["Cafés"], "llava")
    assert (made.description, made.tags, made.alt_text) == ("", (), "")
    assert made.category_match is True


def test_without_categories_there_is_no_match() -> None:
    prompt = named("category_match")
    made = prompt.description(read('{"category_match": 1}', prompt.answer), [], "llava")
    assert made.category_match is None
