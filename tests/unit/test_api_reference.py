"""The description of the API for people: whole, and without a script."""

import html
import re
from types import ModuleType

import pytest
from fastapi.testclient import TestClient

from api import catalogue, ingest, relevancy
from api.reference import type_of
from api.wiring import Services


def test_every_route_and_every_type_of_openapi_is_on_the_page(reader: TestClient) -> None:
    known = reader.get("/openapi.json").json()
    page = reader.get("/docs")
    assert page.status_code == 200
    assert "<script" not in page.text
    text = html.unescape(page.text)
    for path, methods in known["paths"].items():
        for method, about in methods.items():
            assert f'id="{method.upper()}-{path}"' in text
            assert about["summary"] in text
            for parameter in about.get("parameters", ()):
                assert f"<code>{parameter['name']}</code>" in text
    named = set(known["components"]["schemas"])
    assert set(re.findall(r'id="schema-([^"]+)"', text)) == named
    assert set(re.findall(r'href="#schema-([^"]+)"', text)) <= named
    assert "Authorization: Bearer KEY" in text


@pytest.mark.parametrize("module", [ingest, relevancy, catalogue], ids=lambda one: one.__name__)
def test_each_application_describes_itself(module: ModuleType, shops: Services) -> None:
    own = TestClient(module.app)
    module.app.state.services = shops
    text = html.unescape(own.get("/docs").text)
    for path in module.app.openapi()["paths"]:
        assert f'-{path}"' in text


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "integer (≥ 1, ≤ 9)"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Image"}}, "list of Image"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"enum": ["read", "ingest"], "type": "string"}, "read | ingest"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "object of number"),
        ({"type": "string", "contentMediaType": "application/octet-stream"}, "binary"),
        ({"const": "sent"}, "sent"),
        ({}, "anything"),
    ],
)
def test_types_are_written_for_people(schema: dict[str, object], written: str) -> None:
    assert "".join(word.text for word in type_of(schema)) == written
