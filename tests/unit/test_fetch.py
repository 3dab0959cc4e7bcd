"""Fetching photos by addresses that somebody else has chosen, from a real server."""

import gzip
import logging
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest

from pipeline import fetch as module
from pipeline.errors import FetchFailed, FetchRefused
from pipeline.fetch import MOST_REDIRECTS
from pipeline.public_addresses import may_be_reached, parse_networks
from tests.cdn import certificate

LOOPBACK = parse_networks("127.0.0.0/8")
PHOTO = b"\xff\xd8\xff photo"

fetch = partial(module.fetch, timeout=5.0, max_bytes=1000, allowed=LOOPBACK)


@dataclass
class Answer:
    body: bytes = PHOTO
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0


@dataclass
class Photos:
    port: int
    answers: dict[str, Answer]
    asked: list[tuple[str, str]]

    def address(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


def serve(server: ThreadingHTTPServer) -> Iterator[Photos]:
    photos = Photos(server.server_port, {"/": Answer()}, [])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            photos.asked.append((self.headers["Host"], self.path))
            answer = photos.answers[self.path.partition("?")[0]]
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for byte in answer.body if answer.pause else ():
                    self.wfile.write(bytes([byte]))
                    time.sleep(answer.pause)
                self.wfile.write(b"" if answer.pause else answer.body)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server.RequestHandlerClass = Handler
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield photos
    server.shutdown()
    server.server_close()


@pytest.fixture
def photos() -> Iterator[Photos]:
    yield from serve(ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler))


Names = Callable[[dict[str, list[str]]], list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Says what names stand for, one answer after another; gives back what was asked."""

    def stand_for(known: dict[str, list[str]]) -> list[str]:
        asked: list[str] = []

        def resolve(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
            asked.append(host)
            if host not in known:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [(0, 0, 0, "", (one, 0)) for one in known[host]]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        return asked

    return stand_for


def test_a_photo_is_fetched_from_a_network_that_is_allowed(photos: Photos) -> None:
    assert fetch(photos.address()) == PHOTO


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:93.184.215.14]",
        "[::7f00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
        "[2001:db8::1]",
    ],
)
def test_addresses_that_are_not_public_are_refused(host: str) -> None:
    with pytest.raises(FetchRefused, match="not at a public address; JUSTLENS_FETCH_NETWORKS"):
        module.fetch(f"http://{host}:9/a.jpg", timeout=5.0, max_bytes=1000)


@pytest.mark.parametrize("public", ["93.184.215.14", "1.1.1.1", "2606:4700:4700::1111"])
def test_public_addresses_may_be_reached(public: str) -> None:
    assert may_be_reached(ip_address(public))


def test_one_address_of_a_name_that_is_not_public_is_enough_to_refuse_it(names: Names) -> None:
    names({"photos.example": ["1.1.1.1", "10.0.0.1"]})
    with pytest.raises(FetchRefused, match="not at a public address"):
        fetch("http://photos.example/a.jpg")


def test_a_name_is_looked_up_once_and_that_is_connected_to(photos: Photos, names: Names) -> None:
    asked = names({"photos.example": ["127.0.0.1"]})
    assert fetch(photos.address(host="photos.example")) == PHOTO
    assert asked == ["photos.example"]
    assert photos.asked == [(f"photos.example:{photos.port}", "/")]


def test_a_silent_address_of_a_name_is_passed_over(photos: Photos, names: Names) -> None:
    names({"photos.example": ["127.0.0.9", "127.0.0.1"]})
    assert fetch(photos.address(host="photos.example")) == PHOTO


def test_each_redirect_is_looked_at(photos: Photos, names: Names) -> None:
    names({"photos.example": ["127.0.0.1"], "inside.example": ["10.0.0.1"], "127.0.0.1": []})
    photos.answers["/in"] = Answer(status=302, headers={"Location": "//inside.example/a?key=1"})
    with pytest.raises(FetchRefused, match=r"inside\.example is not at a public") as refused:
        fetch(photos.address("/in", host="photos.example"))
    assert "key" not in str(refused.value)


def test_a_redirect_goes_on_from_the_name_and_not_from_its_address(
    photos: Photos, names: Names
) -> None:
    names({"photos.example": ["127.0.0.1"]})
    photos.answers["/there"] = Answer(status=301, headers={"Location": "here?a=1"})
    photos.answers["/here"] = Answer()
    assert fetch(photos.address("/there", host="photos.example")) == PHOTO
    assert photos.asked[1] == (f"photos.example:{photos.port}", "/here?a=1")


def test_redirects_have_an_end(photos: Photos) -> None:
    photos.answers["/"] = Answer(status=307, headers={"Location": "/"})
    with pytest.raises(FetchRefused, match="redirects"):
        fetch(photos.address())
    assert len(photos.asked) == MOST_REDIRECTS + 1


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ftp://photos.example/a.jpg", "begins with http:// or https://, not ftp"),
        ("file:///etc/passwd", "begins with http"),
        ("http:///a.jpg", "begins with http"),
        ("http://[::1/a.jpg", "cannot be read"),
        ("http://me:secret@photos.example/a.jpg?secret=1", "user name is not fetched"),
    ],
)
def test_what_is_no_plain_web_address_is_refused(address: str, words: str) -> None:
    with pytest.raises(FetchRefused, match=words) as refused:
        fetch(address)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://a:b@127.0.0.1/", "gopher://x"])
def test_a_redirect_leads_to_web_addresses_only(photos: Photos, location: str) -> None:
    photos.answers["/"] = Answer(status=302, headers={"Location": location})
    with pytest.raises(FetchRefused):
        fetch(photos.address())


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"x" * 1001, ""),
        (gzip.compress(bytes(10**7)), "gzip"),
        (zlib.compress(bytes(10**7)), "deflate"),
    ],
)
def test_a_photo_that_is_too_large_is_refused(photos: Photos, body: bytes, coding: str) -> None:
    photos.answers["/"] = Answer(body, headers={"Content-Encoding": coding} if coding else {})
    with pytest.raises(FetchRefused, match="larger than 1000 bytes"):
        fetch(photos.address())


def test_a_compressed_photo_is_decompressed(photos: Photos) -> None:
    photos.answers["/"] = Answer(gzip.compress(PHOTO), headers={"Content-Encoding": "gzip"})
    assert fetch(photos.address()) == PHOTO


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer(status=404), FetchRefused, "answered 404"),
        (Answer(status=500), FetchFailed, "answered 500"),
        (Answer(headers={"Content-Encoding": "br"}), FetchRefused, "coding br"),
        (Answer(headers={"Content-Encoding": "gzip, gzip"}), FetchRefused, "coding gzip, gzip"),
        (Answer(headers={"Content-Encoding": "gzip"}), FetchRefused, "not compressed as it says"),
        (Answer(headers={"Content-Length": "900"}), FetchFailed, "did not answer"),
        (
            Answer(gzip.compress(PHOTO)[:-9], headers={"Content-Encoding": "gzip"}),
            FetchFailed,
            "ended before its end",
        ),
    ],
)
def test_what_went_wrong_is_said_without_the_query(
    photos: Photos, answer: Answer, error: type[Exception], words: str
) -> None:
    photos.answers["/a.jpg"] = answer
    with pytest.raises(error, match=words) as failed:
        fetch(photos.address("/a.jpg?secret=1"))
    assert "secret" not in str(failed.value)
    assert f"127.0.0.1:{photos.port}/a.jpg" in str(failed.value)


def test_a_photo_that_drips_ends_with_its_time(photos: Photos) -> None:
    photos.answers["/"] = Answer(b"x" * 900, pause=0.01)
    began = time.monotonic()
    with pytest.raises(FetchFailed, match=r"took longer than 0\.2 s"):
        fetch(photos.address(), timeout=0.2)
    assert time.monotonic() - began < 3


def test_a_name_that_nobody_knows_may_be_known_later(names: Names) -> None:
    names({})
    with pytest.raises(FetchFailed, match=r"the name nowhere\.example is not known"):
        fetch("http://nowhere.example/a.jpg")


def test_a_certificate_is_compared_with_the_name(
    tmp_path: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    names({"photos.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    file = certificate(tmp_path, "photos.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    module._authorities.cache_clear()
    asked_for: list[str | None] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    tls.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    for photos in serve(server):
        assert fetch(photos.address(host="photos.example", scheme="https")) == PHOTO
        assert asked_for == ["photos.example"]
        with pytest.raises(FetchFailed, match="certificate"):
            fetch(photos.address(host="other.example", scheme="https"))
    module._authorities.cache_clear()


def test_logs_hold_no_query(photos: Photos, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fetch(photos.address("/?secret=1"))
    assert "secret" not in caplog.text


def test_a_proxy_of_the_environment_is_not_asked(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert fetch(photos.address()) == PHOTO
