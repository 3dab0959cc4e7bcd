"""Health, readiness, figures, problem documents, and the three applications by themselves."""

import importlib

import pytest
from fastapi.testclient import TestClient

from api.wiring import Services
from pipeline.errors import StoreUnavailable
from tests.shops import Outbox

PROBLEM = "application/problem+json"


def test_health_answers(reader: TestClient) -> None:
    assert reader.get("/health").json() == {"status": "ok"}


def test_a_service_whose_dependencies_answer_is_ready(reader: TestClient, shops: Services) -> None:
    shops.warm_up()
    answer = reader.get("/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert set(answer.json()["checks"]) == {
        "documents",
        "directory",
        "objects",
        "vectors",
        "broker",
        "text_encoder",
    }


def test_readiness_names_what_is_missing(writer: TestClient, outbox: Outbox) -> None:
    outbox.is_down = True
    answer = writer.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["status"] == "missing"
    assert "the broker" in answer.json()["checks"]["broker"]
    assert answer.json()["checks"]["documents"] == "ok"


def test_without_vectors_a_service_is_degraded_but_serves(
    writer: TestClient, own_shops: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_shops.stores.vectors, "check", _away)
    own_shops.warm_up()
    answer = writer.get("/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"]["vectors"] == "the store is away"


def test_a_service_is_not_ready_before_the_first_query_would_be_answered_at_once(
    own_shops: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checks() -> dict[str, str]:
        return own_shops.checks(["text_encoder"])

    meanwhile: list[dict[str, str]] = []
    monkeypatch.setattr(own_shops.serving, "warm_up", lambda: meanwhile.append(checks()))
    own_shops.warm_up()
    assert meanwhile == [{"text_encoder": "warming up"}]
    assert checks() == {"text_encoder": ""}


def test_figures_are_kept_by_route_not_by_path(reader: TestClient) -> None:
    reader.get("/v1/relevance/cafe")
    reader.get("/v1/relevance/nobody")
    reader.get("/no/such/path")
    text = reader.get("/metrics").text
    route = 'route="/v1/relevance/{docid}"'
    assert f'justlens_requests_total{{method="GET",{route},status="200"}}' in text
    assert f'justlens_requests_total{{method="GET",{route},status="404"}}' in text
    assert f'justlens_request_seconds_bucket{{le="0.2",method="GET",{route}' in text
    assert "nobody" not in text
    assert "/no/such/path" not in text


def test_an_unknown_path_is_a_problem_document(reader: TestClient) -> None:
    answer = reader.get("/no/such/path")
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)
    assert answer.json()["type"] == "about:blank"
    assert answer.json()["instance"] == "/no/such/path"


def test_a_method_that_is_not_allowed_is_a_problem_document(reader: TestClient) -> None:
    answer = reader.put("/v1/relevance")
    assert (answer.status_code, answer.headers["content-type"]) == (405, PROBLEM)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "path",
    [
        "/ready",
        "/v1/dead_letters",
        "/v1/businesses",
        "/results?query=coffee",
        "/operations/dead_letters/image_tag_process/1",
    ],
)
def test_every_503_says_when_to_come_again(
    writer: TestClient, own_shops: Services, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    for method in ("check", "businesses", "search_businesses", "dead_letter", "dead_letters"):
        monkeypatch.setattr(own_shops.stores.documents, method, _away)
    monkeypatch.setattr(own_shops.stores.documents, "count_dead_letters", _away)
    answer = writer.get(path)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_a_store_that_is_away_is_503_with_a_time_to_come_again(
    writer: TestClient, own_shops: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_shops.stores.documents, "businesses", _away)
    answer = writer.get("/v1/relevance/cafe")
    assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["detail"] == "the store is away"


@pytest.mark.parametrize(
    ("module", "path"),
    [
        ("relevancy", "/v1/relevance"),
        ("catalogue", "/v1/catalogue/{docid}/images"),
        ("ingest", "/v1/push_to_queue"),
    ],
)
def test_each_application_stands_alone(module: str, path: str) -> None:
    app = importlib.import_module(f"api.{module}").app
    own = set(app.openapi()["paths"])
    assert {path, "/health", "/ready", "/metrics"} <= own
    for other in {"relevancy", "catalogue", "ingest"} - {module}:
        theirs = set(importlib.import_module(f"api.{other}").app.openapi()["paths"])
        assert own & theirs == {"/health", "/ready", "/metrics"}


def test_every_route_is_in_openapi_with_its_answers(reader: TestClient) -> None:
    paths = reader.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/v1/push_to_queue",
        "/v1/images",
        "/v1/images/{docid}/{product_id}",
        "/v1/businesses",
        "/v1/businesses/{docid}",
        "/v1/dead_letters",
        "/v1/dead_letters/replay",
        "/v1/dead_letters/drop",
        "/v1/dead_letters/{key}",
        "/v1/relevance/{docid}",
        "/v1/relevance",
        "/v1/suggest",
        "/v1/events",
        "/v1/catalogue/images",
        "/v1/catalogue/{docid}/images",
        "/v1/alt_texts",
        "/v1/alt_texts/approve",
        "/v1/alt_texts/{docid}/{product_id}",
        "/v1/alt_texts/{docid}/{product_id}/approve",
        "/objects/{key}",
        "/pictures/{width}/{key}",
        "/v1/operations",
        "/health",
        "/ready",
        "/metrics",
    }
    for path, operations in paths.items():
        for operation in operations.values():
            assert operation["summary"]
            if path.startswith("/v1/"):
                invalid = operation["responses"]["422"]["content"]
                assert invalid[PROBLEM]["schema"] == {"$ref": "#/components/schemas/Problem"}


def _away(*_: object, **__: object) -> None:
    raise StoreUnavailable("the store is away")
