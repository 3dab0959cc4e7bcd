"""Who may ask for what: keys, sessions, forged requests, and the table of all routes."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from api import access, main, wiring
from api.visitors import COOKIE, SESSION_SECONDS, Visitors
from api.wiring import Services
from pipeline.api_keys import KEY_SECONDS, ApiKey, Scope, id_of, make_key
from pipeline.errors import ConfigurationError, StoreUnavailable
from pipeline.settings import Settings
from tests.shops import open_shops

PROBLEM = "application/problem+json"
READ, INGEST, ADMIN = Scope
OWN_SITE = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """Shops that everybody needs a key for."""
    services = open_shops(tmp_path_factory.mktemp("closed"))
    services.settings = services.settings.model_copy(update={"open_to": "nobody"})
    return services


@pytest.fixture(scope="module")
def application(closed: Services) -> Iterator[TestClient]:
    with TestClient(
        main.create(lambda: closed), raise_server_exceptions=False, follow_redirects=False
    ) as client:
        yield client


@pytest.fixture
def door(application: TestClient) -> Iterator[TestClient]:
    """Asks without anything that an earlier test left."""
    yield application
    application.cookies.clear()


@pytest.fixture
def key(closed: Services) -> Callable[..., str]:
    def make(*scopes: Scope) -> str:
        text, kept = make_key("a test", scopes)
        closed.stores.keys.save(kept)
        return text

    return make


class LookedUp:
    """Finds keys, and remembers which it was asked for."""

    def __init__(self, find: Callable[[str], ApiKey | None]) -> None:
        self.find = find
        self.ids: list[str] = []
        self.now = 0.0

    def __call__(self, key_id: str) -> ApiKey | None:
        self.ids.append(key_id)
        return self.find(key_id)


def away(_: str) -> None:
    raise StoreUnavailable("the store is away")


def sign_in(browser: TestClient, text: str, **fields: str) -> Response:
    return browser.post("/sign-in", data={"key": text, **fields}, headers=OWN_SITE)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def routes() -> set[str]:
    """Each method and path that an application serves, from all that it is made of."""
    found: set[str] = set()

    def walk(routes: list[object], prefix: str) -> None:
        for route in routes:
            below = getattr(route, "original_router", None)
            if below is not None:
                walk(below.routes, prefix)
            elif methods := getattr(route, "methods", None):
                found.update(f"{method} {prefix}{route.path}" for method in methods)
            else:
                found.add(f"GET {prefix}{route.path}/{{path:path}}")

    walk(main.app.routes, "")
    return {route for route in found if not route.startswith("HEAD ")}


def test_every_route_says_what_opens_it() -> None:
    assert len(routes()) > 35
    assert routes() == set(access.ROUTES)


def test_the_three_applications_serve_nothing_that_the_table_lacks() -> None:
    for name in ("ingest", "relevancy", "catalogue"):
        paths = import_module(f"api.{name}").app.openapi()["paths"]
        asked = {f"{method.upper()} {path}" for path, known in paths.items() for method in known}
        listed = {re.sub(r":path\}", "}", route) for route in access.ROUTES}
        assert asked <= listed


@pytest.mark.parametrize(("route", "needs"), access.ROUTES.items())
def test_a_route_opens_to_its_scopes_and_to_no_other(
    door: TestClient, key: Callable[..., str], route: str, needs: access.Needs
) -> None:
    method, path = re.sub(r"\{[^}]*\}", "1", route).split(" ")
    without = door.request(method, path)
    if needs is None:
        assert without.status_code not in (401, 403)
        return
    assert (without.status_code, without.headers["content-type"]) == (401, PROBLEM)
    assert without.headers["www-authenticate"] == "Bearer"
    for scope in Scope:
        status = door.request(method, path, headers=bearer(key(scope))).status_code
        assert (status not in (401, 403)) is (scope in {*needs, ADMIN}), (route, scope, status)
        assert status != 401


def test_what_no_table_knows_is_for_administrators(
    door: TestClient, key: Callable[..., str]
) -> None:
    assert door.get("/no/such/path").status_code == 401
    assert door.get("/no/such/path", headers=bearer(key(READ, INGEST))).status_code == 403
    assert door.get("/no/such/path", headers=bearer(key(ADMIN))).status_code == 404


def test_a_head_is_asked_for_as_its_get(door: TestClient) -> None:
    assert door.head("/v1/operations").status_code == 401
    assert door.head("/objects/originals/none.jpg").status_code == 404


@pytest.mark.parametrize("wrong", ["", "x", "jl_000000000000_" + "a" * 43, "jl_0_é"])
def test_what_is_no_key_opens_nothing(door: TestClient, wrong: str) -> None:
    answer = door.get("/v1/suggest", headers=[(b"authorization", f"Bearer {wrong}".encode())])
    assert answer.status_code == 401
    assert answer.json()["detail"].startswith("This is no key that holds.")


def test_the_secret_of_another_key_is_not_enough(door: TestClient, key: Callable[..., str]) -> None:
    one, other = key(READ), key(READ)
    mixed = f"jl_{id_of(one)}_{other.split('_', 2)[2]}"
    assert id_of(mixed) == id_of(one)
    assert door.get("/v1/suggest?q=a", headers=bearer(mixed)).status_code == 401
    assert door.get("/v1/suggest?q=a", headers=bearer(one)).status_code == 200


@pytest.fixture
def looked_up(closed: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[LookedUp]:
    """The ids that the store was asked for, and a clock that stands still."""
    seen = LookedUp(closed.stores.keys.find)
    visitors = Visitors(closed.settings, seen, lambda: seen.now)
    monkeypatch.setitem(vars(closed), "visitors", visitors)
    return seen


def test_a_key_costs_a_read_every_few_seconds(
    door: TestClient, key: Callable[..., str], looked_up: LookedUp
) -> None:
    text = key(READ)
    for _ in range(3):
        assert door.get("/v1/suggest?q=a", headers=bearer(text)).status_code == 200
    assert looked_up.ids == [id_of(text)]
    looked_up.now += KEY_SECONDS
    assert door.get("/v1/suggest?q=a", headers=bearer(text)).status_code == 200
    assert looked_up.ids == [id_of(text)] * 2


def test_a_revoked_key_and_its_sessions_end_within_those_seconds(
    closed: Services, door: TestClient, key: Callable[..., str], looked_up: LookedUp
) -> None:
    text = key(READ)
    sign_in(door, text)
    assert door.get("/v1/suggest?q=a", headers=bearer(text)).status_code == 200
    closed.stores.keys.revoke(id_of(text))
    looked_up.now += KEY_SECONDS
    assert door.get("/v1/suggest?q=a", headers=bearer(text)).status_code == 401
    assert door.get("/v1/suggest?q=a").status_code == 401


def test_without_the_store_of_keys_nobody_is_let_in_but_pictures_are_shown(
    door: TestClient, key: Callable[..., str], looked_up: LookedUp
) -> None:
    text = key(READ)
    looked_up.find = away
    assert door.get("/v1/suggest?q=a", headers=bearer(text)).status_code == 503
    assert door.get("/health", headers=bearer(text)).status_code == 200


def test_a_browser_exchanges_a_key_for_a_cookie(door: TestClient, key: Callable[..., str]) -> None:
    opened = door.get("/?query=a%20b", headers={"Sec-Fetch-Mode": "navigate"})
    assert opened.status_code == 303
    assert opened.headers["location"] == "/sign-in?next=/%3Fquery%3Da%2520b"
    page = door.get(opened.headers["location"])
    assert 'value="/?query=a%20b"' in page.text
    text = key(READ)
    entered = sign_in(door, text, next="/?query=a%20b")
    assert (entered.status_code, entered.headers["location"]) == (303, "/?query=a%20b")
    cookie = entered.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert text.split("_", 2)[2] not in cookie
    home = door.get("/")
    assert home.status_code == 200
    assert "Sign out" in home.text
    assert door.get("/operations", headers={"Sec-Fetch-Mode": "navigate"}).status_code == 303
    assert "does not open this page" in door.get("/sign-in?next=/operations").text
    assert door.post("/sign-out", headers=OWN_SITE).status_code == 303
    assert door.get("/").status_code == 401


def test_a_cookie_over_https_is_sent_over_nothing_else(
    closed: Services, key: Callable[..., str]
) -> None:
    with TestClient(
        main.create(lambda: closed), base_url="https://shop.example", follow_redirects=False
    ) as browser:
        assert "Secure" in sign_in(browser, key(READ)).headers["set-cookie"].split("; ")


def test_a_wrong_key_is_asked_for_again(door: TestClient) -> None:
    again = sign_in(door, "jl_wrong")
    assert again.status_code == 401
    assert "This is no key that holds." in again.text
    assert "set-cookie" not in again.headers


@pytest.mark.parametrize(
    "address", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "/a\r\nb"]
)
def test_signing_in_leads_to_no_other_site(
    door: TestClient, key: Callable[..., str], address: str
) -> None:
    assert sign_in(door, key(READ), next=address).headers["location"] == "/"


def test_a_cookie_that_was_changed_or_is_old_opens_nothing(
    door: TestClient, key: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = key(READ), key(READ)
    sign_in(door, one)
    cookie = door.cookies[COOKIE]
    door.cookies.clear()
    for forged in (cookie.replace(id_of(one), id_of(other)), cookie[:-1], "x", id_of(one)):
        door.cookies.set(COOKIE, forged)
        assert door.get("/v1/suggest?q=a").status_code == 401
        door.cookies.clear()
    door.cookies.set(COOKIE, cookie)
    assert door.get("/v1/suggest?q=a").status_code == 200
    signed_at = time.time()
    monkeypatch.setattr(time, "time", lambda: signed_at + SESSION_SECONDS + 2)
    assert door.get("/v1/suggest?q=a").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OWN_SITE, 200),
        ({"Origin": "http://testserver"}, 200),
        ({}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://testserver", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_another_site_cannot_make_a_browser_change_something(
    door: TestClient, key: Callable[..., str], headers: dict[str, str], status: int
) -> None:
    sign_in(door, key(ADMIN))
    asked = {"url": "/v1/dead_letters/drop", "json": {"keys": ["x"]}, "headers": headers}
    assert door.post(**asked).status_code == status
    assert door.get("/v1/suggest?q=a", headers=headers).status_code == 200
    door.cookies.clear()
    by_key = {**asked, "headers": {**headers, **bearer(key(ADMIN))}}
    assert door.post(**by_key).status_code == 200


def test_nor_where_nobody_needs_a_key(reader: TestClient) -> None:
    asked = {"url": "/v1/relevance", "json": {"docids": ["cafe"], "query": "coffee"}}
    assert reader.post(**asked).status_code == 200
    assert reader.post(**asked, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert reader.post(**asked, headers={"Origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize(
    ("open_to", "address", "status"),
    [
        ("", "127.0.0.1", 200),
        ("", "::1", 200),
        ("", "::ffff:127.0.0.1", 200),
        ("", "10.0.0.1", 401),
        ("", "", 401),
        ("nobody", "127.0.0.1", 401),
        ("all", "10.0.0.1", 200),
    ],
)
def test_the_embedded_profile_is_open_to_this_machine(
    tmp_path: Path, open_to: str, address: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    services = Services(Settings(data_dir=tmp_path, open_to=open_to))
    app = wiring.application("test", "", [], [], lambda: services)
    with TestClient(app, "http://localhost", client=(address, 1)) as client:
        assert client.get("/metrics").status_code == status
        wrong = client.get("/metrics", headers=bearer("jl_wrong"))
        assert wrong.status_code == 401
    said = {"": "open to this machine", "nobody": "everybody needs a key", "all": "API is open"}
    assert said[open_to] in caplog.text


def test_the_services_profile_asks_everybody_for_a_key() -> None:
    assert Settings(profile="services").open_to == "nobody"
    assert Settings().open_to == "loopback"


def test_processes_of_one_data_folder_know_each_others_cookies(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new")
    _, key = make_key("one", [READ])
    cookie = Visitors(settings, lambda _: key).session(key)
    assert Visitors(settings, lambda _: key).session(key).split(".")[0] == cookie.split(".")[0]
    secret = tmp_path / "new" / "session.secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in secret.parent.iterdir()] == ["session.secret"]
    (tmp_path / "file").write_text("")
    nowhere = Settings(data_dir=tmp_path / "file")
    with pytest.raises(ConfigurationError, match="set JUSTLENS_SESSION_SECRET"):
        Visitors(nowhere, lambda _: key).session(key)


def test_keys_are_long_and_no_two_are_alike() -> None:
    texts = {make_key("one", [READ])[0] for _ in range(50)}
    assert len(texts) == 50
    assert all(len(text.split("_", 2)[2]) == 43 for text in texts)
