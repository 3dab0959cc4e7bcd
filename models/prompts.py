"""What a vision-language model is asked, and what its answer has to hold.

A prompt is a template with a name and a version; the version is raised with every change of its
words or of its answer, and is part of the key under which a description is found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from models.describer import ALT_TEXT_LENGTH, Description
from models.errors import UnknownPrompt

DEFAULT = "vision_json_with_category"

TAGS = 20
TAG_LENGTH = 60


def _sentence(value: Any) -> Any:
    """On one line; some models answer with a list of sentences."""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = " ".join(value)
    return " ".join(value.split()) if isinstance(value, str) else value


def _alt_text(value: Any) -> Any:
    """Short enough for a screen reader: what is too long ends with a whole word."""
    value = _sentence(value)
    if not isinstance(value, str) or len(value) <= ALT_TEXT_LENGTH:
        return value
    return value[: ALT_TEXT_LENGTH + 1].rpartition(" ")[0].rstrip(" ,;:") or value[:ALT_TEXT_LENGTH]


def _words(value: Any) -> Any:
    """In lower case, each once; some models answer with one text and commas."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(word, str | int) for word in value):
        return value
    words = (" ".join(str(word).lower().split()).lstrip("#") for word in value)
    return [word for word in dict.fromkeys(words) if 0 < len(word) <= TAG_LENGTH][:TAGS]


def _verdict(value: Any) -> Any:
    """Some models explain themselves behind a yes or a no."""
    words = value.replace(",", " ").split() if isinstance(value, str) else []
    return words[0].rstrip(".") if words else value


Sentence = Annotated[str, BeforeValidator(_sentence), StringConstraints(min_length=1)]
AltText = Annotated[str, BeforeValidator(_alt_text), StringConstraints(min_length=1)]
Words = Annotated[list[str], BeforeValidator(_words)]


class Answer(BaseModel):
    """What a model answers; the words of its descriptions go into the prompt."""

    model_config = ConfigDict(extra="ignore")


class WithAltText(Answer):
    """An alt text."""

    alt_text: AltText = Field(
        description="one phrase of at most 120 characters for people who cannot see the photo, "
        'without "image of" or "photo of"'
    )


class WithDescription(Answer):
    """A description."""

    description: Sentence = Field(
        description="two or three plain sentences on what is visible, nothing that is guessed"
    )


class Vision(WithDescription, WithAltText):
    """What every photo of a directory needs."""

    tags: Words = Field(description="5 to 12 single words or short phrases, in lower case")


class FullDetails(Vision):
    """That, and more to search by."""

    objects: Words = Field(description="the things that can be seen")
    colours: Words = Field(description="the two or three main colours")
    setting: Words = Field(description="where it is, such as indoors, kitchen")


class WithCategory(Answer):
    """Whether a photo fits its business."""

    category_match: Annotated[bool, BeforeValidator(_verdict)] = Field(
        description="1 if the photo shows what a business of these categories sells, does, or "
        "looks like; otherwise 0"
    )


class VisionWithCategory(WithCategory, Vision):
    """What every photo needs, with the match."""


class FullDetailsWithCategory(WithCategory, FullDetails):
    """Everything."""


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Parameters:
        name: by which producers choose it.
        version: raised with every change.
        task: the first sentences; ``{categories}`` where the answer has a category match.
        answer: what the answer has to hold; its fields are listed in the question.
        max_tokens: length after which an answer is cut off.
    """

    name: str
    version: int
    task: str
    answer: type[Answer]
    max_tokens: int

    @property
    def identity(self) -> str:
        """Name and version, as they go into idempotency keys."""
        return f"{self.name}@{self.version}"

    def question(self, categories: Sequence[str]) -> str:
        """The words to send beside the photo."""
        # Angle brackets are how these models mark pictures and turns of a conversation.
        names = "; ".join(name.replace("<", "(").replace(">", ")") for name in categories)
        task = self.task.format(categories=names or "none is known")
        fields = "\n".join(
            f'"{name}": {field.description}' for name, field in self.answer.model_fields.items()
        )
        return f"{task}\nAnswer with one JSON object and nothing else. Its fields:\n{fields}"

    def description(self, answer: Answer, categories: Sequence[str], made_from: str) -> Description:
        """What an answer says; empty or none where it was not asked for."""
        said = answer.model_dump()
        words = (said.get(name, []) for name in ("tags", "objects", "colours", "setting"))
        return Description(
            description=said.get("description", ""),
            tags=tuple(dict.fromkeys(chain.from_iterable(words))),
            alt_text=said.get("alt_text", ""),
            category_match=said.get("category_match") if categories else None,
            made_from=made_from,
        )


LOOK = "Look at the photo, which a business has put into a directory."
MATCH = f"{LOOK} The business is listed under: {{categories}}."

PROMPTS: dict[str, Prompt] = {
    prompt.name: prompt
    for prompt in (
        Prompt("description", 1, f"{LOOK} Describe it.", WithDescription, 256),
        Prompt("alt_text", 1, f"{LOOK} Write its alt text.", WithAltText, 128),
        Prompt("category_match", 1, f"{MATCH} Say whether it fits.", WithCategory, 32),
        Prompt("vision_json", 1, f"{LOOK} Describe it for search.", Vision, 512),
        Prompt(DEFAULT, 1, f"{MATCH} Describe it for search.", VisionWithCategory, 512),
        Prompt("full_details", 1, f"{LOOK} Describe it in detail.", FullDetails, 768),
        Prompt(
            "full_details_with_category",
            1,
            f"{MATCH} Describe it in detail.",
            FullDetailsWithCategory,
            768,
        ),
    )
}


def named(name: str) -> Prompt:
    """The prompt of that name.

    Raises `UnknownPrompt`, which lists the known names.
    """
    try:
        return PROMPTS[name]
    except KeyError:
        raise UnknownPrompt(f"no prompt is called {name!r}; known: {', '.join(PROMPTS)}") from None
