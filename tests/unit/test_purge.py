"""What a CDN is asked, and what its answers mean."""

import base64
import hashlib
import hmac
import json
import os
import ssl
import threading
import traceback
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create
from api.wiring import Services
from cli.processes import _environment
from pipeline.errors import ConfigurationError, PermanentError, PurgeFailed, PurgeRefused
from pipeline.purge import Purge, open_purge, public_address
from pipeline.purge.akamai import BODY_LIMIT
from pipeline.settings import Settings
from pipeline.smaller import WIDTHS
from tests.cdn import Answer, Asked, Cdn, certificate, running
from tests.pictures import encoded, plain
from tests.shops import Outbox

ADDRESSES = [
    "https://img.example/objects/enhanced/ab/abc.jpg",
    "https://img.example/menu.jpg?size=1&v=2",
]
FILES = '{"files": {urls}}'
KEY = "key-that-nobody-may-see"
CREDENTIALS = {
    "akamai_client_token": "akab-client",
    "akamai_client_secret": "c2VjcmV0+/=%s",
    "akamai_access_token": "akab-access",
}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("JUSTLENS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def cdn() -> Iterator[Cdn]:
    with running() as cdn:
        yield cdn


@pytest.fixture
def akamai(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cdn]:
    """Speaks TLS, as the purge insists."""
    pem = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    with running(tls) as cdn:
        yield cdn


def http(cdn: Cdn, path: str = "/purge", body: str = FILES, **settings: Any) -> Purge:
    return opened(
        cdn_purge="http", cdn_purge_url=cdn.address + path, cdn_purge_body=body, **settings
    )


def fast(akamai: Cdn, **settings: Any) -> Purge:
    host = akamai.address.removeprefix("https://")
    return opened(cdn_purge="akamai", **{"akamai_host": host, **CREDENTIALS, **settings})


def opened(**settings: Any) -> Purge:
    purge = open_purge(Settings(**{"cdn_public_url": "https://img.example", **settings}))
    assert purge is not None
    return purge


def test_without_a_cdn_there_is_no_purge() -> None:
    assert open_purge(Settings()) is None


def test_opening_a_purge_asks_the_cdn_nothing(cdn: Cdn) -> None:
    http(cdn)
    assert cdn.asked == []


def test_what_is_deleted_is_forgotten_in_all_sizes(cdn: Cdn, tmp_path: Path) -> None:
    chosen = Settings(
        data_dir=tmp_path,
        open_to="all",
        cdn_public_url="https://img.example",
        cdn_purge="http",
        cdn_purge_url=f"{cdn.address}/purge",
        cdn_purge_body=FILES,
    )
    services = Services(chosen, Outbox())
    services.intake.accept_bytes("shop", 1, encoded(plain()))
    row = services.stores.documents.image("shop", 1)
    assert row is not None
    with TestClient(create(lambda: services)) as client:
        assert client.delete("/v1/images/shop/1").status_code == 200
    (asked,) = cdn.asked
    key = row.original_key
    smaller = [f"https://img.example/pictures/{width}/{key}" for width in WIDTHS]
    assert json.loads(asked.body) == {"files": [f"https://img.example/objects/{key}", *smaller]}


def test_a_deletion_says_that_the_cdn_was_not_told(cdn: Cdn, tmp_path: Path) -> None:
    chosen = Settings(data_dir=tmp_path, open_to="all", cdn_purge="akamai")
    services = Services(chosen, Outbox())
    services.intake.accept_bytes("shop", 1, encoded(plain()))
    with TestClient(create(lambda: services)) as client:
        answer = client.delete("/v1/images/shop/1")
    assert answer.status_code == 503
    assert "JUSTLENS_CDN_PUBLIC_URL" in answer.json()["detail"]
    assert list(services.stores.objects.keys()) == []


# a plain request


def test_a_template_for_many_makes_one_request(cdn: Cdn) -> None:
    http(cdn)(ADDRESSES)
    (asked,) = cdn.asked
    assert (asked.method, asked.target) == ("POST", "/purge")
    assert json.loads(asked.body) == {"files": ADDRESSES}
    assert asked.headers["Content-Type"] == "application/json"


def test_a_template_for_one_makes_a_request_for_each(cdn: Cdn) -> None:
    http(cdn, body='{"url": {url}, "tags": {}}')(ADDRESSES)
    assert [json.loads(asked.body) for asked in cdn.asked] == [
        {"url": address, "tags": {}} for address in ADDRESSES
    ]


def test_an_address_within_an_address_is_percent_encoded(cdn: Cdn) -> None:
    http(cdn, path="/purge?soft=1&u={url}", body="")(ADDRESSES)
    encoded = "https%3A%2F%2Fimg.example%2Fmenu.jpg%3Fsize%3D1%26v%3D2"
    assert cdn.asked[1].target == f"/purge?soft=1&u={encoded}"
    assert cdn.asked[1].body == b""


def test_a_cache_can_be_sent_the_path_by_a_method_of_its_own(cdn: Cdn) -> None:
    headers = '{"Host": "img.example"}'
    http(cdn, "{path}", "", cdn_purge_method="PURGE", cdn_purge_headers=headers)(ADDRESSES)
    assert [(asked.method, asked.target) for asked in cdn.asked] == [
        ("PURGE", "/objects/enhanced/ab/abc.jpg"),
        ("PURGE", "/menu.jpg?size=1&v=2"),
    ]
    assert {asked.headers["Host"] for asked in cdn.asked} == {"img.example"}


def test_what_looks_like_a_template_in_an_address_is_left_as_it_is(cdn: Cdn) -> None:
    odd = "https://img.example/{url}{urls}\"'.jpg"
    http(cdn)([odd])
    assert json.loads(cdn.asked[0].body) == {"files": [odd]}


def test_headers_of_the_settings_are_sent(cdn: Cdn) -> None:
    headers = json.dumps({"Authorization": f"Bearer {KEY}", "content-type": "text/json"})
    http(cdn, cdn_purge_headers=headers)(ADDRESSES)
    assert cdn.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert {k: v for k, v in cdn.asked[0].headers.items() if k.lower() == "content-type"} == {
        "content-type": "text/json"
    }


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_an_answer_of_the_moment_is_worth_another_try(cdn: Cdn, status: int) -> None:
    purge = http(cdn)
    cdn.answers(status)
    with pytest.raises(PurgeFailed, match=f"answered {status}") as failure:
        purge(ADDRESSES)
    assert failure.value.retry_after == 0
    purge(ADDRESSES)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 413])
def test_any_other_answer_is_a_refusal(cdn: Cdn, status: int) -> None:
    cdn.answer = lambda _: Answer(status, {"Location": f"{cdn.address}/elsewhere"})
    with pytest.raises(PurgeRefused, match=f"answered {status}"):
        http(cdn)(ADDRESSES)
    assert len(cdn.asked) == 1


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("86400", 300), ("nan", 0), ("soon", 0)])
def test_the_time_that_a_cdn_asks_for_is_kept(cdn: Cdn, header: str, seconds: float) -> None:
    cdn.answer = lambda _: Answer(429, {"Retry-After": header})
    with pytest.raises(PurgeFailed) as failure:
        http(cdn)(ADDRESSES)
    assert failure.value.retry_after == seconds


@pytest.mark.parametrize(("ahead", "least", "most"), [(100, 60, 100), (-100, 0, 0)])
def test_a_cdn_may_name_the_time_by_a_date(
    cdn: Cdn, ahead: float, least: float, most: float
) -> None:
    cdn.answer = lambda _: Answer(503, {"Retry-After": formatdate(time() + ahead, usegmt=True)})
    with pytest.raises(PurgeFailed) as failure:
        http(cdn)(ADDRESSES)
    assert least <= failure.value.retry_after <= most


def test_nobody_at_the_address_is_worth_another_try() -> None:
    with running() as gone:
        purge = http(gone)
    with pytest.raises(PurgeFailed, match="did not answer"):
        purge(ADDRESSES)


def test_a_cdn_that_says_nothing_in_time_is_worth_another_try(cdn: Cdn) -> None:
    stopped = threading.Event()
    cdn.answer = lambda _: Answer() if stopped.wait(30) else Answer(500)
    with pytest.raises(PurgeFailed, match="did not answer"):
        http(cdn, cdn_purge_timeout=0.1)(ADDRESSES)
    stopped.set()


@pytest.mark.parametrize("status", [403, 503, 0])
def test_an_error_shows_no_key(cdn: Cdn, status: int) -> None:
    purge = http(cdn, f"/purge?key={KEY}", cdn_purge_headers=json.dumps({"Key": KEY}))
    echo = json.dumps({"title": "No", "detail": "not you", "authString": KEY}).encode()
    cdn.answer = lambda _: Answer(status, body=echo)
    if not status:
        purge = http(Cdn("http://127.0.0.1:9"), f"/purge?key={KEY}")
    with pytest.raises((PurgeFailed, PurgeRefused)) as failure:
        purge(ADDRESSES)
    assert KEY not in "".join(traceback.format_exception(failure.value))
    if status:
        assert "No: not you" in str(failure.value)


# Akamai


def expected_signature(asked: Asked, host: str, secret: str) -> str:
    """By the EdgeGrid specification, techdocs.akamai.com/developer/docs/authenticate-with-edgegrid.

    Keys are used as text; no header is signed, so that the field between target and hash is empty.
    """

    def mac(key: str, text: str) -> str:
        return base64.b64encode(hmac.digest(key.encode(), text.encode(), "sha256")).decode()

    unsigned, _, _ = asked.headers["Authorization"].partition("signature=")
    timestamp = unsigned.split("timestamp=")[1].split(";")[0]
    content_hash = base64.b64encode(hashlib.sha256(asked.body).digest()).decode()
    signed = [asked.method, "https", host, asked.target, "", content_hash, unsigned]
    return mac(mac(secret, timestamp), "\t".join(signed))


def assert_signed(asked: Asked, host: str) -> None:
    scheme, _, fields = asked.headers["Authorization"].partition(" ")
    values = dict(field.split("=", 1) for field in fields.split(";"))
    assert scheme == "EG1-HMAC-SHA256"
    assert list(values) == ["client_token", "access_token", "timestamp", "nonce", "signature"]
    assert values["client_token"] == CREDENTIALS["akamai_client_token"]
    assert values["access_token"] == CREDENTIALS["akamai_access_token"]
    secret = CREDENTIALS["akamai_client_secret"]
    assert values["signature"] == expected_signature(asked, host, secret)


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({}, "/ccu/v3/invalidate/url/production"),
        (
            {"akamai_network": "staging", "akamai_action": "delete"},
            "/ccu/v3/delete/url/staging",
        ),
    ],
)
def test_akamai_gets_one_signed_request(akamai: Cdn, settings: Any, target: str) -> None:
    fast(akamai, **settings)(ADDRESSES)
    (asked,) = akamai.asked
    assert (asked.method, asked.target) == ("POST", target)
    assert json.loads(asked.body) == {"objects": ADDRESSES}
    assert_signed(asked, akamai.address.removeprefix("https://"))


def test_akamai_credentials_can_lie_in_an_edgerc_file(akamai: Cdn, tmp_path: Path) -> None:
    edgerc = tmp_path / "edgerc"
    secrets = {name.removeprefix("akamai_"): value for name, value in CREDENTIALS.items()}
    lines = [f"{name} = {value}" for name, value in secrets.items()]
    edgerc.write_text("\n".join(["[purge]", f"host = {akamai.address}/", *lines]))
    opened(cdn_purge="akamai", akamai_edgerc=str(edgerc), akamai_section="purge")(ADDRESSES)
    assert_signed(akamai.asked[0], akamai.address.removeprefix("https://"))


def test_a_setting_goes_before_the_edgerc_file(akamai: Cdn, tmp_path: Path) -> None:
    edgerc = tmp_path / "edgerc"
    edgerc.write_text("[default]\nhost = elsewhere.example\nclient_secret = other\n")
    fast(akamai, akamai_edgerc=str(edgerc))(ADDRESSES)
    assert_signed(akamai.asked[0], akamai.address.removeprefix("https://"))


def test_akamai_bodies_are_split_at_the_limit_and_hold_every_address_once(akamai: Cdn) -> None:
    addresses = [f"https://img.example/{'é' * (number % 90)}/{number}.jpg" for number in range(800)]
    fast(akamai)(addresses)
    sizes = [len(asked.body) for asked in akamai.asked]
    assert len(sizes) > 2
    assert max(sizes) <= BODY_LIMIT
    # Full: one more address would not have fitted.
    longest = max(len(json.dumps(address)) for address in addresses)
    assert min(sizes[:-1]) > BODY_LIMIT - longest - 1
    assert [a for asked in akamai.asked for a in json.loads(asked.body)["objects"]] == addresses
    for asked in akamai.asked:
        assert_signed(asked, akamai.address.removeprefix("https://"))


def test_akamai_must_say_created(akamai: Cdn) -> None:
    akamai.answers(200)
    with pytest.raises(PurgeRefused, match="answered 200"):
        fast(akamai)(ADDRESSES)


@pytest.mark.parametrize(
    ("status", "error"), [(429, PurgeFailed), (507, PurgeFailed), (403, PurgeRefused)]
)
def test_akamai_says_why_not(akamai: Cdn, status: int, error: type[Exception]) -> None:
    problem = {"title": "Rate Limit exceeded", "httpStatus": status}
    akamai.answer = lambda _: Answer(status, {"Retry-After": "5"}, json.dumps(problem).encode())
    with pytest.raises(error, match="Rate Limit exceeded") as failure:
        fast(akamai)(ADDRESSES)
    assert getattr(failure.value, "retry_after", 5) == 5


def test_akamai_is_never_spoken_to_without_tls(cdn: Cdn) -> None:
    with pytest.raises((PurgeFailed, PermanentError)):
        fast(cdn, akamai_host=cdn.address.removeprefix("http://"))(ADDRESSES)
    assert cdn.asked == []


# settings


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"cdn_public_url": ""}, "JUSTLENS_CDN_PUBLIC_URL"),
        ({"cdn_public_url": "/images"}, "JUSTLENS_CDN_PUBLIC_URL"),
        ({"cdn_purge_url": ""}, "JUSTLENS_CDN_PURGE_URL"),
        ({"cdn_purge_url": "ftp://cdn.example"}, "JUSTLENS_CDN_PURGE_URL"),
        ({"cdn_purge_url": "https://cdn.example/{urls}"}, "JUSTLENS_CDN_PURGE_URL"),
        ({"cdn_purge_url": "https://cdn.example/{url}"}, "JUSTLENS_CDN_PURGE_BODY"),
        ({"cdn_purge_url": f"https://[{KEY}"}, "JUSTLENS_CDN_PURGE_URL"),
        ({"cdn_purge_body": ""}, "JUSTLENS_CDN_PURGE_BODY"),
        ({"cdn_purge_body": "{urls"}, "JUSTLENS_CDN_PURGE_BODY"),
        ({"cdn_purge_body": f'{{"{KEY}": [{{urls}}}}'}, "JUSTLENS_CDN_PURGE_BODY"),
        ({"cdn_purge_headers": f"Key: {KEY}"}, "JUSTLENS_CDN_PURGE_HEADERS"),
        ({"cdn_purge_headers": f'["{KEY}"]'}, "JUSTLENS_CDN_PURGE_HEADERS"),
        ({"cdn_purge_headers": '{"Key": 5}'}, "JUSTLENS_CDN_PURGE_HEADERS"),
        ({"cdn_purge_headers": '{"Key": "é"}'}, "JUSTLENS_CDN_PURGE_HEADERS"),
        ({"cdn_purge_headers": f'{{"Key": "{KEY}\\n"}}'}, "_HEADERS"),
        ({"cdn_purge": "akamai"}, "JUSTLENS_AKAMAI_HOST"),
        ({"cdn_purge": "akamai", "akamai_host": "a.example"}, "JUSTLENS_AKAMAI_CLIENT_SECRET"),
        ({"cdn_purge": "akamai", "akamai_edgerc": "/nowhere"}, "JUSTLENS_AKAMAI_EDGERC"),
    ],
)
def test_settings_that_cannot_work_are_named(settings: Any, named: str) -> None:
    fine = {"cdn_purge": "http", "cdn_purge_url": "https://cdn.example", "cdn_purge_body": FILES}
    opened(**fine)
    with pytest.raises(ConfigurationError, match=named) as failure:
        opened(**{**fine, **settings})
    assert KEY not in "".join(traceback.format_exception(failure.value))


@pytest.mark.parametrize(
    ("text", "named"),
    [(f"client_secret = {KEY}", "EDGERC"), (f"[other]\nhost = {KEY}", "SECTION")],
)
def test_an_edgerc_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "edgerc").write_text(text)
    with pytest.raises(ConfigurationError, match=named) as failure:
        opened(cdn_purge="akamai", akamai_edgerc=str(tmp_path / "edgerc"))
    assert KEY not in "".join(traceback.format_exception(failure.value))


def test_secrets_are_not_shown_with_the_settings() -> None:
    chosen = Settings(cdn_purge_headers=KEY, akamai_client_secret=KEY, akamai_access_token=KEY)
    assert KEY not in f"{chosen!r} {chosen}"


def test_all_settings_reach_the_processes_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Settings(
        catalogue_rules="watermarked,blurred",
        weight_quality=0.3,
        fetch_networks="10.0.0.0/8,fd00::/8",
    )
    for name, value in _environment(chosen).items():
        monkeypatch.setenv(name, value)
    assert Settings().model_dump(exclude={"threads"}) == chosen.model_dump(exclude={"threads"})


def test_secrets_reach_the_processes_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = json.dumps({"Authorization": KEY})
    chosen = Settings(cdn_purge="akamai", cdn_purge_headers=headers, announce=True, **CREDENTIALS)
    for name, value in _environment(chosen).items():
        monkeypatch.setenv(name, value)
    assert Settings() == chosen


@pytest.mark.parametrize(
    ("address", "prefix", "public"),
    [
        ("/objects/a.jpg", "https://img.example/", "https://img.example/objects/a.jpg"),
        ("/objects/a.jpg", "", "/objects/a.jpg"),
        ("https://s3.example/a.jpg", "https://img.example", "https://s3.example/a.jpg"),
        ("", "https://img.example", ""),
    ],
)
def test_only_a_relative_address_needs_the_prefix(address: str, prefix: str, public: str) -> None:
    assert public_address(address, Settings(cdn_public_url=prefix)) == public
