"""What anybody may send to our queues: image jobs enter the graph, the rest is parked."""

import base64
import itertools
import json
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pipeline.backlog import backlog
from pipeline.queues import JOBS, QUEUES, Lane, Stage, error_queue, lane_queue
from pipeline.records import ImageState
from tests.pictures import green
from tests.services.conftest import Site

pytestmark = pytest.mark.services

ENHANCE = Stage.ENHANCE.value
JSON = {"content_type": "application/json", "content_encoding": "utf-8"}
TASK: dict[str, Any] = {"id": "1", "task": ENHANCE, "lang": "py", "root_id": "1", "retries": 0}
# Two in each of two queues: what is broken must not harm its equals, either.
COPIES = 4
IMAGE = {"docid": "shop-1", "product_id": 1, "generation": 1}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def task(body: object, **headers: Any) -> tuple[bytes, dict[str, Any]]:
    """A message in Celery's own form, with what is wrong in it."""
    kept = {name: value for name, value in {**TASK, **headers}.items() if value != "absent"}
    return encoded(body), {**JSON, "application_headers": kept}


def compressed(how: str) -> dict[str, Any]:
    """The properties of a task whose body says that it is compressed."""
    return {**JSON, "application_headers": {**TASK, "compression": how}}


# What is broken, and a word of what the dead letter says of it.
BROKEN: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "no body": (b"", JSON, "not decode"),
    "no JSON": (b'{"docid": "shop-1", ', JSON, "not decode"),
    "no text": (b"\xff\xfe\x00\x81", JSON, "not decode"),
    "a number": (b"5", JSON, "message"),
    "null": (b"null", JSON, "message"),
    "a field too few": (encoded({"docid": "shop-1"}), JSON, "product_id"),
    "a field too many": (
        encoded({"docid": "a", "product_id": 1, "product_url": "", "x": 1}),
        JSON,
        "x: Extra",
    ),
    "a value of a wrong type": (
        encoded({"docid": ["a"], "product_id": "one", "product_url": "ftp://x"}),
        JSON,
        "docid",
    ),
    "no address": (encoded({"docid": "new", "product_id": 1, "product_url": ""}), JSON, "address"),
    "five megabytes": (encoded({"docid": "a" * 5_000_000}), JSON, "docid"),
    "deep nesting": (b"[" * 100_000, JSON, "not decode"),
    "nothing but bytes": (b"\x00\x01", {}, "not decode"),
    "no known content type": (b"hello", {"content_type": "text/plain"}, "text/plain"),
    "pickle": (
        b"cos\nsystem\n(S'true'\ntR.",
        {"content_type": "application/x-python-serialize", "content_encoding": "binary"},
        "pickle",
    ),
    "an unknown task": (*task([[IMAGE], {}, None], task="format_disk"), "format_disk"),
    "one of Celery's own tasks": (
        *task([[], {}, None], task="celery.backend_cleanup"),
        "celery.backend_cleanup",
    ),
    "the task that stands in for no task": (*task([[{}], {}, None], task="foreign"), "foreign"),
    "a task without an id": (*task([[IMAGE], {}, None], id="absent"), "id"),
    "a task that is a number": (*task([[IMAGE], {}, None], task=7), "task"),
    "a task without arguments": (*task({}), "args"),
    "a task with too many arguments": (*task([[IMAGE, 2], {}, None]), "one argument"),
    "a task with a field too few": (*task([[{"docid": "shop-1"}], {}, None]), "product_id"),
    "a task at no time": (*task([[IMAGE], {}, None], eta="tomorrow"), "ETA"),
    "a task that expires": (*task([[IMAGE], {}, None], expires="2001-01-01T00:00:00"), "expire"),
    "a task of broken bytes": (
        b'[[{"docid": "\xff\xfe',
        {**JSON, "application_headers": TASK},
        "not decode",
    ),
    "an encoding that there is not": (
        encoded({"docid": "shop-1", "note": 1}),
        {"content_type": "application/json", "content_encoding": "no-such-code"},
        "note: Extra",
    ),
    "an encoding that it is not in": (
        encoded({"docid": "shop-1", "note": 2}),
        {"content_type": "application/json", "content_encoding": "utf-16"},
        "note: Extra",
    ),
    "a task in an encoding that there is not": (
        encoded([[IMAGE], {"note": 3}, None]),
        {**JSON, "content_encoding": "no-such-code", "application_headers": TASK},
        "one argument",
    ),
    "a content type that is none": (b"{ }", {"content_type": "\x00/"}, "untrusted content"),
    "an undeclared compression": (b"plain", compressed("application/x-gzip"), "not decode"),
    "an unknown compression": (b"[[], {}, 1]", compressed("application/x-none"), "not decode"),
    # A hundred times as much in memory, and the next hundred would be no harder to send.
    "a bomb": (zlib.compress(bytes(10_000_000)), compressed("application/x-gzip"), "compressed"),
}


def test_nothing_broken_disappears_and_the_workers_go_on(any_site: Site) -> None:
    worker = any_site.worker()
    queues = (JOBS, *(stage.value for stage in Stage))
    sent: dict[str, list[bytes]] = {queue: [] for queue in queues}
    for number, (body, properties, _) in enumerate(BROKEN.values()):
        for copy in range(COPIES):
            queue = queues[(number + copy % 2) % len(queues)]
            any_site.publish(queue, body, **properties)
            sent[queue].append(body)
    any_site.take_in(2, first=100)

    total = COPIES * len(BROKEN)

    def parked() -> int:
        depths = backlog(any_site.app)
        return sum(depths[error_queue(queue), "all"] for queue in queues)

    any_site.until(lambda: parked() >= total, "all are parked")
    said: dict[bytes, set[str]] = {}
    keys = set()
    for queue in queues:
        letters = any_site.parked(queue)
        bodies = [raw(letter) for letter in letters]
        assert sorted(bodies) == sorted(sent[queue])
        keys.update(letter["key"] for letter in letters)
        for body, letter in zip(bodies, letters, strict=True):
            said.setdefault(body, set()).add(letter["message"])
    assert len(keys) == total
    for body, _, problem in BROKEN.values():
        assert any(problem in message for message in said[body]), (body[:80], said[body])
    any_site.until(
        lambda: len(any_site.stores.documents.dead_letters(limit=1000)) == total, "one record each"
    )
    any_site.until(lambda: any_site.states() == {ImageState.DONE: 2}, "images go through")
    assert worker.poll() is None


def test_the_undecodable_in_any_queue_is_found_in_its_error_queue(any_site: Site) -> None:
    any_site.worker()
    for queue in QUEUES:
        for lane in Lane:
            any_site.publish(lane_queue(queue, lane), b"{broken", **JSON)
    any_site.until(lambda: all(len(any_site.parked(queue)) == 2 for queue in QUEUES), "two in each")
    letter = any_site.parked(JOBS)[0]
    assert (letter["queue"], letter["exception"]) == (JOBS, "InvalidMessage")


def test_plain_jobs_published_to_any_queue_end_as_ranked_images(
    any_site: Site, photos: str
) -> None:
    any_site.worker()
    queues = itertools.cycle([ENHANCE, JOBS, lane_queue(ENHANCE, Lane.BULK)])
    for number, queue in zip(range(1, 19), queues, strict=False):
        job = {"docid": "shop-1", "product_id": number, "product_url": f"{photos}/{number}"}
        any_site.publish(queue, encoded(job), **(JSON if number % 2 else {}))
    any_site.until(lambda: any_site.states() == {ImageState.DONE: 18}, "eighteen are done")
    rows = any_site.stores.documents.relevance(["shop-1"], [2])
    assert sorted(row.product_id for row in rows) == list(range(1, 19))
    assert all(row.score is not None for row in rows)
    assert any_site.stores.documents.dead_letters() == []


def test_a_job_for_a_later_stage_begins_there(any_site: Site) -> None:
    any_site.worker()
    any_site.take_in(1)
    any_site.until(lambda: any_site.states() == {ImageState.DONE: 1}, "the image is done")
    before = any_site.stores.documents.metadata([("shop-1", 1)])["shop-1", 1]
    assert any_site.stores.documents.patch_metadata(
        "shop-1", 1, 1, {f"stages.{Stage.SCORE.value}.key": "other inputs"}
    )
    job = {"docid": "shop-1", "product_id": 1, "product_url": ""}
    any_site.publish(Stage.SCORE.value, encoded(job), **JSON)

    def scored_again() -> bool:
        after = any_site.stores.documents.metadata([("shop-1", 1)])["shop-1", 1]
        ended = after.stages[Stage.SCORE.value].ended_at
        return ended > before.stages[Stage.SCORE.value].ended_at

    any_site.until(scored_again, "its score is new")
    any_site.until(lambda: any_site.states() == {ImageState.DONE: 1}, "and it is done")
    after = any_site.stores.documents.metadata([("shop-1", 1)])["shop-1", 1]
    assert after.stages[ENHANCE] == before.stages[ENHANCE]


def raw(letter: dict[str, Any]) -> bytes:
    """The body of the message that a dead letter keeps."""
    (text,) = letter["args"]
    scheme, _, coded = text.partition("base64:")
    return base64.b64decode(coded) if coded and not scheme else text.encode()


@pytest.fixture
def photos() -> Iterator[str]:
    """The address of a server with photos."""

    class Photos(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(green(int(self.path.rsplit("/", 1)[-1])))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Photos) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
