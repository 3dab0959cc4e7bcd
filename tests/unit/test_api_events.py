"""Feedback over HTTP."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.wiring import Services
from pipeline.feedback import Chosen
from pipeline.stores.events import Events


def event(event_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "kind": "impression",
        "docid": "cafe",
        "product_id": 1,
        "position": 1,
        "slot": "dynamic",
        "source": "scores",
        "query": "cofee",
        "category": "Coffee Shops",
        **fields,
    }


def test_events_are_recorded_once(writer: TestClient, own_shops: Services) -> None:
    batch = {"events": [event("a"), event("b", kind="click"), event("a")]}
    answer = writer.post("/v1/events", json=batch)
    assert answer.status_code == 202
    assert answer.json() == {"accepted": 2, "repeated": 1}
    assert writer.post("/v1/events", json=batch).json() == {"accepted": 0, "repeated": 3}
    assert own_shops.stores.events.queries(0) == [Chosen("cofee", "Coffee Shops", "cafe", 1, 1)]


def test_no_events_are_no_trouble(writer: TestClient) -> None:
    assert writer.post("/v1/events", json={"events": []}).json() == {"accepted": 0, "repeated": 0}


def test_what_people_type_about_themselves_is_not_kept(
    writer: TestClient, own_shops: Services
) -> None:
    typed = "cofee ann@example.org +49 170 1234567"
    writer.post("/v1/events", json={"events": [event("a", query=typed)]})
    assert [one.query for one in own_shops.stores.events.queries(0)] == ["cofee"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ([event("a"), event("b", kind="hover")], "body.events.1.kind"),
        ([event("a"), event("no good")], "body.events.1.event_id"),
        ([event("a", surname="Doe")], "body.events.0.surname"),
        ([event(f"e{number}") for number in range(501)], "body.events"),
        ([event("a", query={"$gt": ""})], "body.events.0.query"),
    ],
)
def test_a_batch_with_a_wrong_event_is_refused_as_a_whole(
    writer: TestClient, own_shops: Services, wrong: list, field: str
) -> None:
    answer = writer.post("/v1/events", json={"events": wrong})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert own_shops.stores.events.shown(0) == []


def test_without_the_store_events_are_not_accepted_and_pages_go_on(
    writer: TestClient, own_shops: Services, tmp_path
) -> None:
    (tmp_path / "file").write_text("")
    broken = Events(f"sqlite:///{tmp_path}/file/events.db")
    object.__setattr__(own_shops.stores, "events", broken)
    answer = writer.post("/v1/events", json={"events": [event("a")]})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert writer.get("/v1/relevance/cafe").status_code == 200


def test_the_relevancy_application_takes_events_alone() -> None:
    from api.relevancy import app

    assert "/v1/events" in app.openapi()["paths"]
