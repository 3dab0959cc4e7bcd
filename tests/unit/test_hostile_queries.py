"""The ranking API answers whatever is sent to it, and never with an error of its own."""

from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from httpx import Response

PROBLEM = "application/problem+json"
LONG = 10_240

# As they stand in an address: percent-encoded bytes, which need not be UTF-8.
TEXTS = {
    "empty": "",
    "blank": "%20%09%0a",
    "emoji": quote("☕🍰👩‍👩‍👧"),
    "flags and joiners": quote("🏳️‍🌈" * 20),
    "sql": quote("'; DROP TABLE imgrel; --"),
    "sql union": quote("coffee' UNION SELECT body FROM businesses WHERE '1'='1"),
    "mongo operator": quote('{"$gt": ""}'),
    "mongo where": quote("'; return true; var x='"),
    "template": quote("{{7*7}} ${jndi:ldap://x/a} <script>alert(1)</script>"),
    "path": quote("../../etc/passwd", safe=""),
    "nul": "coffee%00shops",
    "nul alone": "%00",
    "control": "%01%02%1b%5b31m%7f%c2%85",
    "lone surrogate": "%ed%a0%80coffee",
    "bad utf-8": "%ff%fe%80%c3",
    "right to left": quote("\u202eeffoc\u2066"),
    "combining": quote("c" + "\u0301" * 150),
    "no letters": quote("?!… ()[]{}*+.^$|\\"),
    "regular expression": quote("(a+)+$" * 20),
    "digits": "9" * 200,
    "percent": "%25%25%25s%25n",
    "unassigned": quote("\U000e0001\uffff\ufdd0"),
    "chinese": quote("咖啡店"),
    "arabic": quote("مقهى"),
}


def is_sensible(answer: Response) -> bool:
    """Whether it is an answer, or a problem document that says what is wrong."""
    if answer.status_code == 200:
        return True
    is_problem = answer.headers["content-type"] == PROBLEM and answer.json()["detail"] != ""
    return answer.status_code in (400, 404, 405, 422) and is_problem


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("field", ["query", "category"])
def test_any_text_is_answered(reader: TestClient, field: str, text: str) -> None:
    answer = reader.get(f"/v1/relevance/cafe?{field}={text}")
    assert answer.status_code == 200, answer.text
    # Whatever it is taken for, the business has pictures that it may show.
    assert answer.json()["static"]["product_id"] == 101


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_any_id_of_a_business_is_answered(reader: TestClient, text: str) -> None:
    answer = reader.get(f"/v1/relevance/{text}")
    assert is_sensible(answer), answer.text


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_anything_typed_so_far_is_completed(reader: TestClient, text: str) -> None:
    answer = reader.get(f"/v1/suggest?q={text}")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/relevance/cafe?query={'x' * LONG}",
        f"/v1/relevance/cafe?category={'x' * LONG}",
        f"/v1/relevance/{'x' * LONG}",
        f"/v1/suggest?q={'x' * LONG}",
        "/v1/relevance/cafe?limit=0",
        "/v1/relevance/cafe?limit=-1",
        f"/v1/relevance/cafe?limit={10**400}",
        "/v1/relevance/cafe?limit=NaN",
        "/v1/relevance/cafe?limit=1e3",
        "/v1/relevance/cafe?catid=0",
        f"/v1/relevance/cafe?catid={2**63}",
        f"/v1/relevance/cafe?catid=-{10**30}",
        "/v1/relevance/cafe?catid[$gt]=",
        "/v1/relevance/cafe?query[$ne]=x",
        "/v1/relevance/cafe?query=a&category=b",
        "/v1/relevance/cafe?colour=red",
    ],
)
def test_what_does_not_fit_is_a_problem_document(reader: TestClient, path: str) -> None:
    answer = reader.get(path)
    assert answer.status_code == 422, answer.text
    assert is_sensible(answer), answer.text


@pytest.mark.parametrize("catid", [2**63 - 1, 999])
def test_a_category_that_nobody_has_is_answered_by_the_rule_set(
    reader: TestClient, catid: int
) -> None:
    answer = reader.get("/v1/relevance/cafe", params={"catid": catid})
    assert answer.json()["source"] == "rule_set"


@pytest.mark.parametrize(
    "body",
    [
        b'{"docids": ["cafe"], "query": "\\ud800"}',
        b'{"docids": ["\\ud800"]}',
        b'{"docids": ["cafe"], "query": "\\u0000"}',
        b'{"docids": ["cafe"], "query": {"$gt": ""}}',
        b'{"docids": {"$in": ["cafe"]}}',
        b'{"docids": "cafe"}',
        b'{"docids": ["cafe"], "limit": 1e400}',
        b'{"docids": ["cafe"], "catid": 1.5}',
        b'{"docids": ["cafe"], "query": "' + b"x" * LONG + b'"}',
        b'{"docids": [' + b"[" * 2_000 + b"]" * 2_000 + b"]}",
        b'{"docids": ["cafe"]',
        b"\xff\xfe",
        b"",
        b"null",
        b"[]",
    ],
)
def test_any_body_is_answered(reader: TestClient, body: bytes) -> None:
    answer = reader.post(
        "/v1/relevance", content=body, headers={"content-type": "application/json"}
    )
    assert is_sensible(answer), answer.text
