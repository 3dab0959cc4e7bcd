"""A retry on both brokers: it holds no slot while it waits, and outlives its worker."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.messages import ImageJob
from pipeline.queues import Stage
from tests.pictures import green
from tests.services.conftest import Site

pytestmark = pytest.mark.services

ENHANCE = Stage.ENHANCE.value


class Photos(ThreadingHTTPServer):
    """A server with one photo, which it says it cannot serve for a while."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.status = 503
        self.asked = 0


class _Answer(BaseHTTPRequestHandler):
    server: Photos

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(green(1))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def photos() -> Iterator[Photos]:
    with Photos() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_retry_holds_no_slot_and_goes_on_after_its_worker_was_killed(
    any_site: Site, photos: Photos
) -> None:
    worker = any_site.worker(ENHANCE, JUSTLENS_RETRY_DELAY="8")
    address = f"http://127.0.0.1:{photos.server_address[1]}/1"
    any_site.intake.accept_job(ImageJob(docid="shop-1", product_id=1, product_url=address))
    any_site.until(lambda: photos.asked, "the photo is asked for")

    def is_idle() -> bool:
        active = any_site.app.control.inspect(timeout=1).active()
        return active is not None and not any(active.values())

    any_site.until(is_idle, "no slot is held")
    worker.kill()
    worker.wait()
    assert photos.asked == 1
    photos.status = 200
    any_site.worker(ENHANCE, name="next")

    def stages() -> set[str]:
        known = any_site.stores.documents.metadata([("shop-1", 1)]).values()
        return {name for metadata in known for name in metadata.stages}

    any_site.until(lambda: ENHANCE in stages(), "the next worker has tried again")
    assert photos.asked == 2
    assert any_site.stores.documents.dead_letters() == []
