"""Which queries are kept of those that come over HTTP, and of whom."""

import time

import pytest
from fastapi.testclient import TestClient

from api.capture import sender_of
from api.main import create
from api.visitors import Visitor
from api.wiring import Services
from pipeline.api_keys import ApiKey
from pipeline.retraining.capture import TypedQuery
from pipeline.stores.queries import Queries
from tests.shops import Outbox, open_shops

KEY = ApiKey(key_id="k", name="search", digest="d", scopes=frozenset(), created_at=0.0)


def kept(services: Services) -> list[TypedQuery]:
    assert services.query_log is not None
    services.query_log.flush()
    return list(services.stores.queries.recorded(0, time.time() + 60))


def test_every_way_of_asking_is_kept_once(writer: TestClient, own_shops: Services) -> None:
    writer.get("/v1/relevance/cafe", params={"query": "cofee"})
    writer.post("/v1/relevance", json={"docids": ["cafe", "museum"], "query": "musem"})
    writer.get("/", params={"query": "zzzz"})
    writer.get("/results", params={"query": "pet shop"})
    found = {one.query: one.category for one in kept(own_shops)}
    assert found == {
        "cofee": "Coffee Shops",
        "musem": "Museums",
        "zzzz": "",
        "pet shop": "Pet Shops",
    }
    assert len(kept(own_shops)) == 4


def test_what_nobody_typed_is_not_kept(writer: TestClient, own_shops: Services) -> None:
    writer.get("/")
    writer.get("/v1/relevance/cafe", params={"category": "Coffee Shops"})
    writer.get("/v1/relevance/nobody", params={"query": "cofee"})
    writer.get("/results", params={"query": "cofee", "page": 2})
    writer.get("/v1/suggest", params={"q": "cof"})
    assert kept(own_shops) == []


def test_from_the_network_a_name_counts_for_nothing(
    writer: TestClient, own_shops: Services
) -> None:
    for name in ("ann", "bob", ""):
        asked = {"docids": ["cafe"], "query": "cofee"}
        writer.post("/v1/relevance", json=asked, headers={"X-Visitor": name})
    (visitor,) = {one.visitor for one in kept(own_shops)}
    assert visitor


@pytest.mark.parametrize(
    ("visitor", "named", "sender"),
    [
        (Visitor("192.0.2.1", key=KEY), "ann", "ann"),
        (Visitor("192.0.2.1", key=KEY), "", ""),
        (Visitor("127.0.0.1"), "ann", "ann"),
        (Visitor("127.0.0.1"), "", ""),
        (Visitor("192.0.2.1", key=KEY, by_cookie=True), "ann", "192.0.2.1"),
        (Visitor("192.0.2.1"), "ann", "192.0.2.1"),
    ],
)
def test_only_a_server_may_speak_for_others(visitor: Visitor, named: str, sender: str) -> None:
    assert sender_of(visitor, named) == sender


def test_nothing_is_kept_where_that_is_switched_off(tmp_path) -> None:
    services = open_shops(tmp_path, Outbox())
    services.settings = services.settings.model_copy(update={"capture_queries": False})
    with TestClient(create(lambda: services)) as client:
        assert client.get("/v1/relevance/cafe", params={"query": "cofee"}).status_code == 200
        assert services.query_log is None
        assert list(services.stores.queries.recorded(0, time.time() + 60)) == []


def test_without_the_store_pages_go_on(writer: TestClient, own_shops: Services, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    broken = Queries(f"sqlite:///{tmp_path}/file/events.db")
    assert own_shops.query_log is not None
    own_shops.query_log._save = broken.save
    assert writer.get("/v1/relevance/cafe", params={"query": "cofee"}).status_code == 200


def test_the_end_of_the_application_saves_what_waits(tmp_path) -> None:
    services = open_shops(tmp_path, Outbox())
    with TestClient(create(lambda: services)) as client:
        client.get("/v1/relevance/cafe", params={"query": "cofee"})
    assert [one.query for one in services.stores.queries.recorded(0, time.time() + 60)] == ["cofee"]
