"""The ranking API over HTTP."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.shops import open_shops

PROBLEM = "application/problem+json"


def test_a_business_is_answered_with_all_that_a_page_needs(reader: TestClient) -> None:
    answer = reader.get("/v1/relevance/cafe", params={"query": "cofee"})
    assert answer.status_code == 200
    cafe = answer.json()
    assert cafe["resolution"]["category"] == "Coffee Shops"
    best = cafe["dynamic"][0]
    assert best["url"].startswith("/objects/originals/")
    assert best["enhanced_url"].startswith("/objects/enhanced/")
    assert (best["width"], best["height"]) == (600, 400)
    assert (best["enhanced_width"], best["enhanced_height"]) == (1200, 800)
    assert best["alt"] == "A cup of coffee at cafe"
    assert best["score"] == 0.9
    assert best["quality"] == 60
    assert best["why"]["rule"] == "scores"
    assert best["why"]["parts"]["image"] == 0.9
    assert cafe["source"] == "scores"
    assert {picture["product_id"] for picture in cafe["carousel"]} == {101, 102, 103}
    assert [picture["product_id"] for picture in cafe["enhanced"]] == [101, 102]


def test_a_page_of_businesses_is_one_request(reader: TestClient) -> None:
    wanted = {"docids": ["garage", "cafe", "nobody"], "category": "Coffee Shops", "limit": 1}
    answer = reader.post("/v1/relevance", json=wanted).json()
    assert [business["docid"] for business in answer["businesses"]] == ["garage", "cafe"]
    assert answer["unknown"] == ["nobody"]
    assert all(len(business["dynamic"]) == 1 for business in answer["businesses"])


def test_an_unknown_business_is_a_problem_document(reader: TestClient) -> None:
    answer = reader.get("/v1/relevance/nobody")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json() == {
        "type": "urn:justlens:problem:unknown-business",
        "title": "Unknown business",
        "status": 404,
        "detail": "the directory has no business 'nobody'",
        "instance": "/v1/relevance/nobody",
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"docids": []}, "body.docids"),
        ({"docids": [f"d{i}" for i in range(101)]}, "body.docids"),
        ({"docids": ["no spaces"]}, "body.docids.0"),
        ({"docids": ["cafe"], "limit": 0}, "body.limit"),
        ({"docids": ["cafe"], "category": "a", "query": "b"}, "body"),
        ({"docids": ["cafe"], "colour": "red"}, "body.colour"),
        ({"docids": ["cafe"], "query": "x" * 201}, "body.query"),
    ],
)
def test_a_request_that_does_not_fit_names_the_field(
    reader: TestClient, body: dict[str, object], field: str
) -> None:
    answer = reader.post("/v1/relevance", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert problem["instance"] == "/v1/relevance"
    assert field in [error["field"] for error in problem["errors"]]


def test_only_one_thing_can_be_asked_for_in_an_address_too(reader: TestClient) -> None:
    answer = reader.get("/v1/relevance/cafe", params={"query": "coffee", "catid": 1})
    assert answer.status_code == 422
    assert "only one of" in answer.json()["detail"]


def test_what_is_typed_is_completed(reader: TestClient) -> None:
    answer = reader.get("/v1/suggest", params={"q": "mu"})
    assert answer.json() == {"query": "mu", "suggestions": ["Museums"]}


def test_answering_a_query_needs_no_torch(tmp_path: Path) -> None:
    open_shops(tmp_path).close()
    script = """
import sys
from fastapi.testclient import TestClient
import api.relevancy
assert not {"torch", "onnxruntime"} & sys.modules.keys(), "importing loads models"
with TestClient(api.relevancy.app) as client:
    answer = client.get("/v1/relevance/museum", params={"query": "spacecraft lifting off"})
assert answer.json()["dynamic"][0]["why"]["live"], answer.text
assert "torch" not in sys.modules
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "JUSTLENS_DATA_DIR": str(tmp_path), "JUSTLENS_OPEN_TO": "all"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
