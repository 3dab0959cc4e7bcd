"""What only the object store on S3 promises."""

import http.client
import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from pipeline.errors import ConfigurationError, ObjectMissing, StoreUnavailable
from pipeline.stores import objects_s3
from pipeline.stores.objects import CACHE_CONTROL
from pipeline.stores.objects_s3 import PART_SIZE, Address, S3Objects
from tests.services.servers import free_port, s3
from tests.services.servers.certificate import make_certificate
from tests.unit.stores.processes import run_side_by_side

pytestmark = pytest.mark.services

KEY = "originals/ab/abcd.png"
NOWHERE = "s3+http://access:s3cr3t@127.0.0.1:1/bucket"


class TestObjects:
    def test_are_served_with_their_type_and_may_be_kept_for_ever(self, s3_objects):
        s3_objects.put(KEY, b"a picture")
        answer = httpx.get(s3_objects.direct_url(KEY))
        assert (answer.status_code, answer.content) == (200, b"a picture")
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["cache-control"] == CACHE_CONTROL
        assert httpx.head(s3_objects.direct_url(KEY, "HEAD")).status_code == 200

    def test_that_are_large_go_up_in_parts(self, s3_objects, s3_url):
        content = bytes(range(251)) * (2 * PART_SIZE // 251 + 1)
        s3_objects.put(KEY, content)
        assert s3_objects.get(KEY) == content
        address = Address.read(s3_url)
        stat = address.client(address.provider).stat_object(address.bucket, KEY)
        assert str(stat.etag).endswith("-3")
        assert stat.content_type == "image/png"

    def test_of_others_in_the_bucket_are_not_listed(self, s3_objects, s3_url):
        inside = S3Objects(f"{s3_url}/inside", "/objects")
        inside.put(KEY, b"x")
        s3_objects.put("originals/own.jpg", b"x")
        assert list(inside.keys()) == [KEY]
        assert not inside.exists("originals/own.jpg")

    def test_go_over_connections_that_are_kept_and_that_no_forked_process_shares(self):
        ports: list[int] = []

        def answer(request: BaseHTTPRequestHandler) -> None:
            ports.append(request.client_address[1])
            reply(request, 200, b"x")
            request.close_connection = False

        with serving(answer) as port:
            store = S3Objects(f"s3+http://access:s3cr3t@127.0.0.1:{port}/bucket", "/objects")
            store.get(KEY)
            child = multiprocessing.get_context("fork").Process(target=store.get, args=(KEY,))
            child.start()
            child.join(30)
            store.get(KEY)
        before, by_child, after = ports
        assert before == after != by_child


class TestPreparing:
    def test_by_several_processes_at_once_makes_the_bucket(self, s3_url):
        assert run_side_by_side(prepare, [(s3_url,)] * 4) == ["ready"] * 4

    def test_that_another_process_has_just_done_is_done(self):
        asked: list[str] = []

        def answer(request: BaseHTTPRequestHandler) -> None:
            asked.append(request.command)
            content = refusal("BucketAlreadyOwnedByYou") if request.command == "PUT" else b""
            reply(request, 409 if content else 404, content)

        with serving(answer) as port:
            S3Objects(f"s3+http://access:s3cr3t@127.0.0.1:{port}/bucket", "/objects").prepare()
        assert asked[-1] == "PUT"

    def test_keeps_what_is_in_the_bucket(self, s3_objects):
        s3_objects.put(KEY, b"x")
        s3_objects.prepare()
        assert s3_objects.get(KEY) == b"x"

    def test_is_what_the_error_of_a_missing_bucket_asks_for(self, s3_url):
        store = S3Objects(s3_url, "/objects")
        calls = (
            store.check,
            lambda: store.get(KEY),
            lambda: store.put(KEY, b"x"),
            lambda: list(store.keys()),
        )
        for call in calls:
            with pytest.raises(ConfigurationError, match="justlens setup"):
                call()


class TestSignedAddresses:
    def test_need_no_server_and_stay_the_same_all_day(self):
        store = S3Objects(NOWHERE, "/objects")
        address = store.direct_url(KEY)
        assert address.startswith(f"http://127.0.0.1:1/bucket/{KEY}?")
        assert "s3cr3t" not in address
        said = parse_qs(urlsplit(address).query)
        assert said["X-Amz-Expires"] == [str(7 * 24 * 3600)]
        assert said["X-Amz-Date"][0].endswith("T000000Z")
        assert S3Objects(NOWHERE, "/objects").direct_url(KEY) == address

    def test_lead_where_browsers_find_the_server(self):
        store = S3Objects(f"{NOWHERE}?public=https://photos.example.com", "/objects")
        assert store.direct_url(KEY).startswith(f"https://photos.example.com/bucket/{KEY}?")
        assert store.origin == "https://photos.example.com"

    def test_of_amazon_name_the_bucket_in_the_host(self):
        store = S3Objects("s3://a:b@s3.eu-west-1.amazonaws.com/bucket", "/objects")
        assert "eu-west-1" in parse_qs(urlsplit(store.direct_url(KEY)).query)["X-Amz-Credential"][0]
        assert store.direct_url(KEY).startswith(f"{store.origin}/{KEY}")
        assert "bucket" in store.origin


@pytest.fixture(scope="module")
def secure_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket on a server whose authority is named."""
    folder = tmp_path_factory.mktemp("secure")
    with s3.started(folder, make_certificate(folder)) as server, server.bucket() as url:
        yield url


class TestTls:
    def test_carries_objects_to_a_server_of_that_authority(self, secure_url):
        store = S3Objects(secure_url, "/objects")
        store.prepare()
        store.put(KEY, b"x")
        assert store.get(KEY) == b"x"
        assert store.direct_url(KEY).startswith("https://127.0.0.1:")

    def test_keeps_away_from_a_server_of_another_authority(self, secure_url):
        unknown = secure_url.partition("?")[0]
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            S3Objects(unknown, "/objects").check()


class TestTrouble:
    def test_that_passes_is_not_noticed(self, s3_objects, s3_url):
        with failing(s3_url, [503, 0, 500]) as (url, seen):
            through = S3Objects(url, "/objects")
            through.put(KEY, b"x")
            assert through.get(KEY) == b"x"
        assert seen.count("HEAD") == 4  # three that failed, and the one that found nothing

    def test_that_stays_can_be_tried_again_later(self, s3_objects, s3_url):
        with failing(s3_url, [503] * 100) as (url, seen):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="503"):
                S3Objects(url, "/objects").check()
            assert time.monotonic() - began < 10
        assert 1 < len(seen) < 10

    def test_in_the_middle_of_an_object_is_no_short_object(self):
        with answering(200, b"short", length=100) as url, pytest.raises(StoreUnavailable):
            S3Objects(url, "/objects").get(KEY)

    def test_of_a_server_that_is_away_is_known_within_seconds(self):
        began = time.monotonic()
        store = S3Objects(f"s3+http://access:s3cr3t@127.0.0.1:{free_port()}/bucket", "/objects")
        for call in (store.check, store.prepare, lambda: store.put(KEY, b"x")):
            with pytest.raises(StoreUnavailable) as raised:
                call()
            assert "s3cr3t" not in str(raised.value)
        assert time.monotonic() - began < 10

    def test_of_a_server_that_says_nothing_ends_with_the_timeout(self, monkeypatch):
        monkeypatch.setattr(objects_s3, "READ_SECONDS", 0.3)
        with silent() as url, pytest.raises(StoreUnavailable, match="timed out"):
            S3Objects(url, "/objects").get(KEY)

    @pytest.mark.parametrize("code", ["AccessDenied", "SignatureDoesNotMatch"])
    def test_with_the_keys_says_what_they_need(self, code):
        with answering(403, refusal(code)) as url, pytest.raises(ConfigurationError) as raised:
            S3Objects(url, "/objects").get(KEY)
        assert "JUSTLENS_OBJECTS_URL" in str(raised.value)
        assert "s3:PutObject" in str(raised.value)
        assert "s3cr3t" not in str(raised.value)

    def test_with_the_load_can_be_tried_again_later(self):
        with answering(400, refusal("SlowDown")) as url, pytest.raises(StoreUnavailable):
            S3Objects(url, "/objects").get(KEY)

    def test_to_find_an_object_is_no_trouble_of_the_store(self, s3_objects):
        with pytest.raises(ObjectMissing):
            s3_objects.get(KEY)


class TestKeys:
    @pytest.fixture(autouse=True)
    def none_around(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "MINIO_ACCESS_KEY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        away = f"http://127.0.0.1:{free_port()}/"
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", away)

    def test_come_from_the_environment(self, s3_url, monkeypatch):
        address = Address.read(s3_url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", address.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", address.secret_key)
        store = S3Objects(f"s3+http://{address.endpoint}/{address.bucket}", "/objects")
        store.prepare()
        store.put(KEY, b"x")
        assert httpx.get(store.direct_url(KEY)).content == b"x"

    def test_come_from_the_role_of_a_container(self, monkeypatch):
        role = {"AccessKeyId": "of-a-role", "SecretAccessKey": "s", "Token": "and-its-token"}
        ends = {"Code": "Success", "Expiration": "2999-01-01T00:00:00Z"}
        with answering(200, json.dumps({**role, **ends}).encode()) as url:
            endpoint = Address.read(url).endpoint
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://{endpoint}/role")
            signed = S3Objects("s3+http://127.0.0.1:1/bucket", "/objects").direct_url(KEY)
        said = parse_qs(urlsplit(signed).query)
        assert said["X-Amz-Credential"][0].startswith("of-a-role/")
        assert said["X-Amz-Security-Token"] == ["and-its-token"]

    def test_that_are_nowhere_are_asked_for(self):
        store = S3Objects("s3+http://127.0.0.1:1/bucket", "/objects")
        with pytest.raises(ConfigurationError, match="AWS_ACCESS_KEY_ID"):
            store.check()


def prepare(url: str) -> str:
    store = S3Objects(url, "/objects")
    store.prepare()
    store.check()
    return "ready"


def refusal(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode()


def reply(
    request: BaseHTTPRequestHandler, status: int, content: bytes, length: int | None = None
) -> None:
    request.send_response(status)
    request.send_header("Content-Type", "application/xml")
    request.send_header("Content-Length", str(len(content) if length is None else length))
    request.end_headers()
    request.wfile.write(content)
    request.close_connection = True


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[int]:
    """The port of a server that answers every request so."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            answer(self)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def failing(url: str, statuses: list[int]) -> Iterator[tuple[str, list[str]]]:
    """The address of a way to S3 that fails so at first (0: the connection breaks), and the
    methods it has seen."""
    beyond = Address.read(url)
    left, seen = list(statuses), []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.command)
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        request.close_connection = True
        if left:
            if status := left.pop(0):
                request.send_response(status)
                request.send_header("Content-Length", "0")
                request.end_headers()
            return
        connection = http.client.HTTPConnection(beyond.endpoint)
        # With their own Host: it is part of the signature.
        connection.request(request.command, request.path, body, dict(request.headers))
        answered = connection.getresponse()
        content = answered.read()
        request.send_response(answered.status)
        for name, value in answered.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "server", "date"):
                request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)
        connection.close()

    with serving(answer) as port:
        keys = url.partition("://")[2].rpartition("@")[0]
        yield f"s3+http://{keys}@127.0.0.1:{port}/{beyond.bucket}", seen


@contextmanager
def answering(status: int, content: bytes, length: int | None = None) -> Iterator[str]:
    """The address of a server that has one answer."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        reply(request, status, content, length)

    with serving(answer) as port:
        yield f"s3+http://access:s3cr3t@127.0.0.1:{port}/bucket"


@contextmanager
def silent() -> Iterator[str]:
    """The address of a server that takes requests and never answers."""
    end = threading.Event()
    with serving(lambda _: end.wait(30) and None) as port:
        yield f"s3+http://access:s3cr3t@127.0.0.1:{port}/bucket"
        end.set()
