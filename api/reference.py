"""``/docs``: what OpenAPI says of an application, as a page without a script.

FastAPI's own page takes its scripts from elsewhere and lets anything inline run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.html import render
from api.wiring import ServicesOf

router = APIRouter(include_in_schema=False)

Schema = Mapping[str, Any]

REFERENCE = "#/components/schemas/"
LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "pattern": "like {}",
    "default": "by default {!r}",
}


@dataclass(frozen=True)
class Word:
    """A part of how a type is written; ``schema`` is the name of the one that it stands for."""

    text: str
    schema: str = ""


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a schema."""

    name: str
    where: str
    type: list[Word]
    is_required: bool
    description: str


@dataclass(frozen=True)
class Operation:
    """A method of a path."""

    method: str
    path: str
    summary: str
    description: str
    parameters: list[Field]
    body: dict[str, list[Word]]
    answers: dict[str, tuple[str, list[Word]]]


@router.get("/docs", response_class=HTMLResponse)
def page(request: Request, services: ServicesOf) -> HTMLResponse:
    """All routes by their tags, and what they take and give."""
    known = request.app.openapi()
    groups: dict[str, list[Operation]] = {}
    for tag, operation in operations(known):
        groups.setdefault(tag, []).append(operation)
    schemas = known.get("components", {}).get("schemas", {})
    context = {
        "info": known["info"],
        "groups": groups,
        "schemas": {name: (schema, list(fields(schema))) for name, schema in schemas.items()},
    }
    return render(request, services, "reference.html", context)


def operations(known: Schema) -> Iterator[tuple[str, Operation]]:
    """Each with its first tag, in the order of the document."""
    for path, methods in known["paths"].items():
        for method, about in methods.items():
            operation = Operation(
                method.upper(),
                path,
                about.get("summary", ""),
                about.get("description", ""),
                [_parameter(one) for one in about.get("parameters", ())],
                _contents(about.get("requestBody", {})),
                {
                    status: (answer["description"], next(iter(_contents(answer).values()), []))
                    for status, answer in about["responses"].items()
                },
            )
            yield next(iter(about.get("tags", ())), ""), operation


def fields(schema: Schema) -> Iterator[Field]:
    """Of an object; none of anything else."""
    for name, about in schema.get("properties", {}).items():
        required = name in schema.get("required", ())
        yield Field(name, "", type_of(about), required, about.get("description", ""))


def type_of(schema: Schema) -> list[Word]:
    """How the type of a value is written for people, with its limits."""
    if reference := schema.get("$ref"):
        name = reference.removeprefix(REFERENCE)
        return [Word(name, name)]
    words = _bare(schema)
    limits = [text.format(schema[name]) for name, text in LIMITS.items() if name in schema]
    return [*words, Word(f" ({', '.join(limits)})")] if limits else words


def _bare(schema: Schema) -> list[Word]:
    if choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        words = [[*type_of(choice), Word(" or ")] for choice in choices]
        return [word for some in words for word in some][:-1]
    if "enum" in schema:
        return [Word(" | ".join(str(value) for value in schema["enum"]))]
    if "const" in schema:
        return [Word(str(schema["const"]))]
    kind = schema.get("type", "anything")
    if kind == "array":
        return [Word("list of "), *type_of(schema.get("items", {}))]
    if kind == "object" and isinstance(values := schema.get("additionalProperties"), Mapping):
        return [Word("object of "), *type_of(values)]
    return [Word("binary" if schema.get("contentMediaType") else str(kind))]


def _parameter(about: Schema) -> Field:
    schema, required = about.get("schema", {}), about.get("required", False)
    described = about.get("description", "")
    return Field(about["name"], about["in"], type_of(schema), required, described)


def _contents(about: Schema) -> dict[str, list[Word]]:
    """The types of a body by its content types."""
    contents = about.get("content", {})
    return {kind: type_of(content.get("schema", {})) for kind, content in contents.items()}
