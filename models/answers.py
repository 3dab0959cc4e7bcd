"""Reading what a vision-language model answered: as it stands, or repaired, or refused."""

import json
import re
from typing import Any, TypeVar

from json_repair import repair_json
from pydantic import ValidationError

from models.errors import UnreadableAnswer
from models.prompts import Answer

SHOWN = 80
"""Characters of an answer that an error repeats."""

A = TypeVar("A", bound=Answer)


def read(text: str, kind: type[A]) -> A:
    """The answer in a model's words.

    Code fences, words around the object, single quotes, stray commas and missing ends are
    mended, and values of another type taken for what they plainly mean. What was cut off is left
    out: half a word is not served to people.

    Raises `UnreadableAnswer`, which says what is wrong in words that the model can be told.
    """
    try:
        return kind.model_validate(_object(text))
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise UnreadableAnswer(wrong) from error


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = _mended(text)
    if isinstance(found, dict) and found:
        return found
    shown = " ".join(text.split())[:SHOWN]
    raise UnreadableAnswer(f"there is no JSON object in it, it begins {shown!r}")


def _mended(text: str) -> Any:
    found = repair_json(text, return_objects=True)
    if isinstance(found, list):
        # Words with brackets around the object.
        objects = [part for part in found if isinstance(part, dict)]
        found = objects[0] if len(objects) == 1 else None
    if isinstance(found, dict) and found and _is_cut_off(text):
        last = next(reversed(found))
        if isinstance(found[last], list) and found[last]:
            found[last].pop()
        else:
            del found[last]
    return found


def _is_cut_off(text: str) -> bool:
    """Whether an object is left open; braces in quotation marks do not count."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    return bare.count("{") > bare.count("}")
