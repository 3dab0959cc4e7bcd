"""Limits of requests, what browsers are told, and what no answer shows."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from pydantic import ValidationError

from api import html, main
from api.body_limit import MOST_BYTES
from api.shields import HEADERS
from api.wiring import Services, application
from pipeline.api_keys import Scope, make_key
from pipeline.logs import TextLines
from pipeline.settings import Settings
from tests.shops import open_shops

PROBLEM = "application/problem+json"

Asking = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shops")
    open_shops(path).close()
    return path


@pytest.fixture
def asking(folder: Path, shops: Services) -> Asking:
    """Asks an application with settings of the test's own."""

    @contextmanager
    def ask(client: str = "10.0.0.1", **chosen: Any) -> Iterator[TestClient]:
        settings = Settings(data_dir=folder, **{"open_to": "all", **chosen})
        services = Services(settings)
        services.text_encoder = shops.text_encoder
        services.image_text_encoder = shops.image_text_encoder
        app = main.create(lambda: services)
        with TestClient(app, "http://localhost", client=(client, 1)) as asked:
            yield asked

    return ask


def test_an_address_that_asks_too_often_is_told_when_to_come_again(asking: Asking) -> None:
    with asking(rate_limit_address="3/hour;100/day") as client:
        statuses = [client.get("/v1/suggest?q=a").status_code for _ in range(4)]
        refused = client.get("/v1/suggest?q=a")
        assert statuses == [200, 200, 200, 429]
        assert refused.headers["content-type"] == PROBLEM
        assert 0 < int(refused.headers["retry-after"]) <= 3600
        assert client.get("/health").status_code == 200
        assert client.get("/objects/originals/none.jpg").status_code == 404


def test_keys_are_counted_each_by_itself(asking: Asking) -> None:
    with asking(open_to="nobody", rate_limit_key="2/hour", rate_limit_address="3/hour") as client:
        services: Services = client.app.state.services  # type: ignore[attr-defined]
        headers = []
        for _ in range(2):
            text, key = make_key("one", [Scope.READ])
            services.stores.keys.save(key)
            headers.append({"Authorization": f"Bearer {text}"})
        for one in headers:
            statuses = [client.get("/v1/suggest?q=a", headers=one).status_code for _ in range(3)]
            assert statuses == [200, 200, 429]
        wrong = {"Authorization": "Bearer jl_wrong"}
        guesses = [client.get("/v1/suggest?q=a", headers=wrong).status_code for _ in range(3)]
        assert guesses == [401, 401, 401]
        assert client.post("/sign-in", data={"key": "a guess"}).status_code == 429


def test_this_machine_is_not_counted_where_it_needs_no_key(asking: Asking) -> None:
    with asking("127.0.0.1", open_to="loopback", rate_limit_address="1/hour") as client:
        assert [client.get("/v1/suggest?q=a").status_code for _ in range(3)] == [200] * 3


def test_where_nothing_can_be_counted_everything_else_works(
    asking: Asking, caplog: pytest.LogCaptureFixture
) -> None:
    with asking(rate_limit_url="redis://:secret@127.0.0.1:1/0") as client:
        assert client.get("/v1/suggest?q=a").status_code == 200
    assert "requests are not counted" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("wrong", ["often", "1/fortnight", "1/hour,2/day", "-1/hour"])
def test_a_limit_that_cannot_be_read_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="100/minute"):
        Settings(rate_limit_key=wrong)


JSON = "application/json"


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b'{"docids": NaN}', b"\xff"]
)
def test_json_that_is_meant_to_do_harm_is_refused(reader: TestClient, body: bytes) -> None:
    answer = reader.post("/v1/relevance", content=body, headers={"Content-Type": JSON})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == PROBLEM
    assert len(answer.content) < 2000


def preflight(origin: str) -> dict[str, Any]:
    return {
        "url": "/v1/relevance",
        "headers": {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        },
    }


def test_scripts_of_other_sites_may_ask_where_a_setting_names_them(asking: Asking) -> None:
    page = {"docids": ["cafe"], "query": "coffee"}
    with asking(cors_origins="https://shop.example, https://other.example") as client:
        allowed = client.options(**preflight("https://shop.example"))
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-credentials" not in allowed.headers
        asked = {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}
        assert client.post("/v1/relevance", json=page, headers=asked).status_code == 200
        assert client.options(**preflight("https://evil.example")).status_code == 400
        asked["Origin"] = "https://evil.example"
        assert client.post("/v1/relevance", json=page, headers=asked).status_code == 403
    with asking() as client:
        answer = client.options(**preflight("https://shop.example"))
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/upload",
        "/alt-texts",
        "/operations",
        "/sign-in",
        "/v1/suggest?q=a",
        "/health",
        "/docs",
        "/static/base.css",
        "/objects/originals/none.jpg",
        "/no/such/path",
    ],
)
def test_browsers_are_told_what_may_run(reader: TestClient, path: str) -> None:
    headers = reader.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy


def test_nothing_runs_in_an_object(reader: TestClient, shops: Services) -> None:
    key = shops.stores.documents.image("cafe", 101).original_key  # type: ignore[union-attr]
    for path in (f"/objects/{key}", f"/pictures/320/{key}"):
        answer = reader.get(path)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].endswith("sandbox")


@pytest.mark.parametrize("path", sorted((html.HERE / "templates").glob("*.html")), ids=str)
def test_no_template_needs_anything_inline(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\bstyle\s*=|\son[a-z]+\s*=|<style|javascript:", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))


def test_what_no_one_foresaw_is_found_in_the_log_by_its_number(
    shops: Services, caplog: pytest.LogCaptureFixture
) -> None:
    router = APIRouter()

    @router.get("/broken")
    def broken() -> None:
        raise RuntimeError("a secret")

    caplog.handler.setFormatter(TextLines())
    app = application("test", "", [router], (), lambda: shops)
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/broken?key=hidden")
    assert (answer.status_code, answer.headers["content-type"]) == (500, PROBLEM)
    assert "secret" not in answer.text and "Traceback" not in answer.text
    assert answer.headers.items() >= {name.lower(): text for name, text in HEADERS.items()}.items()
    number = re.search(r"under ([0-9a-f]{32})", answer.json()["detail"])
    assert number
    assert answer.headers["x-correlation-id"] == number[1]
    assert f"GET /broken failed correlation_id={number[1]}\nTraceback" in caplog.text
    assert "a secret" in caplog.text
    assert "hidden" not in caplog.text


def test_what_fails_before_any_route_is_told_in_the_same_way(
    shops: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise RuntimeError("a secret")

    with monkeypatch.context() as patch:
        patch.setattr(shops.visitors, "who", fails)
        app = application("test", "", [], (), lambda: shops)
        with TestClient(app, raise_server_exceptions=False) as client:
            answer = client.get("/health")
    assert (answer.status_code, answer.headers["content-type"]) == (500, PROBLEM)
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("content_type", "is_file"), [("application/json", False), ("multipart/form-data", True)]
)
def test_a_body_that_does_not_say_how_long_it_is_ends_at_the_limit(
    reader: TestClient, shops: Services, content_type: str, is_file: bool
) -> None:
    most = shops.settings.max_bytes if is_file else MOST_BYTES

    def pieces() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(most // 100_000 + 2):
            yield bytes(100_000)

    path = "/v1/images" if is_file else "/v1/relevance"
    headers = {"Content-Type": f"{content_type}; boundary=b"}
    answer = reader.post(path, content=pieces(), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (413, PROBLEM)
    assert str(most)[0] in answer.json()["detail"]


LOCAL = {"open_to": "loopback", "client": "127.0.0.1"}


@pytest.mark.parametrize(
    ("host", "chosen", "status"),
    [
        ("localhost:8000", LOCAL, 200),
        ("LOCALHOST.", LOCAL, 200),
        ("shop.localhost", LOCAL, 200),
        ("127.0.0.1:8000", LOCAL, 200),
        ("[::1]:8000", LOCAL, 200),
        ("192.168.1.7", LOCAL, 200),
        ("evil.example", LOCAL, 421),
        ("evil.example:8000", LOCAL, 421),
        ("localhost.evil.example", LOCAL, 421),
        ("evillocalhost", LOCAL, 421),
        ("127.0.0.1.evil.example", LOCAL, 421),
        ("[::1", LOCAL, 421),
        ("photos.example", {**LOCAL, "api_names": "a.example, Photos.example"}, 200),
        ("evil.example", {**LOCAL, "api_names": "photos.example"}, 421),
        ("evil.example", {**LOCAL, "api_names": "*"}, 200),
        ("evil.example", {"open_to": "all"}, 200),
        ("evil.example", {"open_to": "all", "api_names": "photos.example"}, 421),
        ("photos.example", {"open_to": "nobody"}, 401),
        ("evil.example", {"open_to": "nobody", "api_names": "photos.example"}, 421),
    ],
)
def test_no_other_site_can_make_its_name_lead_here(
    asking: Asking, host: str, chosen: dict[str, Any], status: int
) -> None:
    with asking(**chosen) as client:
        answer = client.get("/v1/suggest?q=a", headers={"Host": host})
        assert answer.status_code == status
        if status == 421:
            assert answer.headers["content-type"] == PROBLEM
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "JUSTLENS_API_NAMES" in answer.json()["detail"]
