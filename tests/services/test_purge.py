"""What other systems hear of an enhanced image: events, and purges of a CDN."""

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pipeline.keys import stage_key
from pipeline.messages import ImageEnhanced, ImageJob
from pipeline.queues import ENHANCED_PRODUCTS, Stage
from pipeline.records import Enhancement, ImageMetadata, ImageState
from pipeline.topology import kept_queue
from tests.cdn import Answer, Asked, Cdn, running
from tests.pictures import encoded, green, plain
from tests.services.conftest import Site

pytestmark = pytest.mark.services

PUBLIC = "https://img.example"
# Longer than any test takes: a batch that is purged sooner is a full one.
LONG = "60"
numbers = itertools.count(1)


@pytest.fixture
def cdn() -> Iterator[Cdn]:
    with running() as cdn:
        yield cdn


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Cdn]]:
    """A site whose worker announces and purges each image by itself, and its CDN."""
    with running() as cdn:
        site = Site(tmp_path_factory.mktemp("front"))
        site.worker(**purging(cdn, JUSTLENS_ANNOUNCE="true"))
        yield site, cdn
        site.close()


@pytest.fixture
def number(front: tuple[Site, Cdn]) -> int:
    """Of a photo of the test's own; nothing was asked or announced before it."""
    site, cdn = front
    cdn.asked.clear()
    cdn.answers()
    events(site)
    return next(numbers)


def purging(cdn: Cdn, **environment: str) -> dict[str, str]:
    """The environment of a worker in front of the CDN."""
    return {
        "JUSTLENS_CDN_PURGE": "http",
        "JUSTLENS_CDN_PURGE_URL": f"{cdn.address}/purge",
        "JUSTLENS_CDN_PURGE_BODY": '{"files": {urls}}',
        "JUSTLENS_CDN_PURGE_WAIT": "0",
        "JUSTLENS_CDN_PUBLIC_URL": PUBLIC,
        "JUSTLENS_MAX_RETRIES": "1",
        **environment,
    }


def purged(asked: Asked) -> list[str]:
    addresses: list[str] = json.loads(asked.body)["files"]
    return addresses


def metadata(site: Site, number: int) -> ImageMetadata:
    return site.stores.documents.metadata([("shop-1", number)])["shop-1", number]


def enhancement(site: Site, number: int) -> Enhancement:
    found = metadata(site, number).enhancement
    assert found is not None
    return found


def enhanced_address(site: Site, number: int) -> str:
    return f"{PUBLIC}/objects/{enhancement(site, number).key}"


def done(site: Site, count: int) -> None:
    site.until(lambda: site.states() == {ImageState.DONE: count}, f"{count} images are done")


def all_done(site: Site) -> None:
    site.until(lambda: set(site.states()) == {ImageState.DONE}, "all images are done")


def events(site: Site) -> list[dict[str, Any]]:
    """Takes all that lies in the queue for other systems."""
    taken = []
    with site.app.connection_for_read() as connection:
        queue = kept_queue(ENHANCED_PRODUCTS)(connection.default_channel)
        queue.declare()
        while message := queue.get(no_ack=True):
            assert message.content_type == "application/json"
            taken.append(json.loads(message.body))
    return taken


def test_many_images_are_purged_by_one_request(site: Site, cdn: Cdn) -> None:
    batched = {"JUSTLENS_CDN_PURGE_BATCH": "4", "JUSTLENS_CDN_PURGE_WAIT": LONG}
    site.worker(**purging(cdn, **batched))
    site.take_in(8)
    done(site, 8)
    requests = [purged(asked) for asked in cdn.asked]
    assert [len(addresses) for addresses in requests] == [4, 4]
    addresses = [address for request in requests for address in request]
    assert sorted(addresses) == sorted(enhanced_address(site, number) for number in range(1, 9))
    assert events(site) == [], "nothing is announced unless configured"


def test_a_worker_of_the_update_alone_has_the_slots_for_a_batch(site: Site, cdn: Cdn) -> None:
    site.worker(Stage.UPDATE.value, name="update", **purging(cdn, JUSTLENS_CDN_PURGE_WAIT=LONG))
    others = [stage.value for stage in Stage if stage is not Stage.UPDATE]
    site.worker(*others, name="others")
    site.take_in(8)
    done(site, 8)
    assert [len(purged(asked)) for asked in cdn.asked] == [8]


def test_the_address_that_a_photo_came_from_is_purged_too(
    front: tuple[Site, Cdn], number: int
) -> None:
    site, cdn = front
    cdn.photos["/menu.png"] = green(number)
    url = f"{cdn.address}/menu.png"
    site.intake.accept_job(ImageJob(docid="shop-1", product_id=number, product_url=url))
    all_done(site)
    assert [purged(asked) for asked in cdn.asked] == [[enhanced_address(site, number), url]]


@pytest.mark.parametrize(
    ("picture", "action"),
    [(plain((40, 160, 60), 1280, 720), "kept"), (plain((0, 0, 255)), "failed")],
    ids=["large", "refused by the enhancer"],
)
def test_an_image_that_was_not_enhanced_is_neither_purged_nor_announced(
    front: tuple[Site, Cdn], number: int, picture: np.ndarray, action: str
) -> None:
    site, cdn = front
    site.intake.accept_bytes("shop-1", number, encoded(picture))
    all_done(site)
    assert enhancement(site, number).action == action
    assert cdn.asked == []
    assert events(site) == []


def test_the_write_back_is_visible_before_the_purge_is_tried(
    front: tuple[Site, Cdn], number: int
) -> None:
    site, cdn = front
    seen = []

    def look(asked: Asked) -> Answer:
        seen.append([f"{PUBLIC}/objects/{enhancement(site, number).key}"])
        return Answer()

    cdn.answer = look
    site.take_in(1, first=number)
    all_done(site)
    assert seen == [purged(cdn.asked[0])]


def test_a_purge_that_fails_for_a_moment_is_tried_again_when_the_cdn_says_so(
    front: tuple[Site, Cdn], number: int
) -> None:
    site, cdn = front
    asks = iter([Answer(429, {"Retry-After": "2"})])
    times: list[float] = []

    def busy(_asked: Asked) -> Answer:
        times.append(time.monotonic())
        return next(asks, Answer())

    cdn.answer = busy
    site.take_in(1, first=number)
    all_done(site)
    assert len(times) == 2
    assert times[1] - times[0] >= 2
    assert purged(cdn.asked[0]) == purged(cdn.asked[1])
    assert metadata(site, number).stages[Stage.UPDATE.value].outcome == "done"
    assert number not in {letter.product_id for letter in site.stores.documents.dead_letters()}
    # Of both tries there is an event, and it is the same.
    first, second = events(site)
    assert first == second


@pytest.mark.parametrize(
    ("status", "exception", "tries", "requests"),
    [
        # Each try of the three is one request.
        (503, "PurgeFailed", 2, 2),
        # A refusal may be one image's alone: each is tried by itself.
        (403, "PurgeRefused", 1, 4),
    ],
)
def test_a_failed_purge_is_parked_once_for_each_image_and_all_are_done_and_enhanced(
    site: Site, cdn: Cdn, status: int, exception: str, tries: int, requests: int
) -> None:
    cdn.answer = lambda _: Answer(status)
    site.worker(**purging(cdn, JUSTLENS_CDN_PURGE_BATCH="3", JUSTLENS_CDN_PURGE_WAIT=LONG))
    site.take_in(3)
    done(site, 3)
    assert len(cdn.asked) == requests
    letters = site.stores.documents.dead_letters()
    assert sorted(letter.product_id or 0 for letter in letters) == [1, 2, 3]
    assert {(letter.queue, letter.exception, letter.tries) for letter in letters} == {
        (Stage.UPDATE.value, exception, tries)
    }
    parked = [letter["product_id"] for letter in site.parked(Stage.UPDATE.value)]
    assert set(parked) == {1, 2, 3}
    assert len(parked) == 3
    for number in (1, 2, 3):
        assert enhancement(site, number).action == "enhanced"
        record = metadata(site, number).stages[Stage.UPDATE.value]
        assert (record.outcome, record.detail.partition(":")[0]) == ("failed", exception)
        row = site.stores.documents.relevance(["shop-1"], [1])[number - 1]
        assert row.card.enhanced_url == f"/objects/{enhancement(site, number).key}"


def test_a_rerun_after_a_failed_purge_purges_and_a_rerun_after_that_does_not(
    front: tuple[Site, Cdn], number: int
) -> None:
    site, cdn = front
    cdn.answers(403)
    site.take_in(1, first=number)
    for requests, outcome in ((1, "failed"), (2, "done"), (2, "done")):
        all_done(site)
        assert len(cdn.asked) == requests
        assert metadata(site, number).stages[Stage.UPDATE.value].outcome == outcome
        job = ImageJob(docid="shop-1", product_id=number, product_url="")
        site.intake.accept_job(job, start=Stage.UPDATE)
    all_done(site)
    assert len(cdn.asked) == 2


def test_a_worker_whose_settings_cannot_work_does_not_start(site: Site, cdn: Cdn) -> None:
    worker = site.worker(**purging(cdn, JUSTLENS_CDN_PURGE_BODY="{urls"))
    assert worker.wait(60) == 1
    assert "JUSTLENS_CDN_PURGE_BODY" in site.logs()


def test_an_event_tells_other_systems_where_the_enhanced_version_is(site: Site, cdn: Cdn) -> None:
    cdn.photos["/menu.png"] = green(1)
    url = f"{cdn.address}/menu.png"
    site.worker(JUSTLENS_ANNOUNCE="true", JUSTLENS_CDN_PUBLIC_URL=PUBLIC)
    receipt = site.intake.accept_job(ImageJob(docid="shop-1", product_id=1, product_url=url))
    site.take_in(2, first=2)
    done(site, 3)
    taken = {event["product_id"]: event for event in events(site)}
    assert set(taken) == {1, 2, 3}
    assert len({event["event_id"] for event in taken.values()}) == 3
    image = site.stores.documents.image("shop-1", 1)
    assert image is not None
    found = enhancement(site, 1)
    assert taken[1] == {
        "schema_version": 1,
        "event_id": stage_key("shop-1", 1, 1, found.sha256),
        "docid": "shop-1",
        "product_id": 1,
        "generation": 1,
        "product_url": url,
        "original_url": f"{PUBLIC}/objects/{image.original_key}",
        "enhanced_url": f"{PUBLIC}/objects/{found.key}",
        "width": 960,
        "height": 720,
        "size": len(site.stores.objects.get(found.key)),
        "sha256": found.sha256,
        "action": "enhanced",
        "enhanced_at": metadata(site, 1).stages[Stage.ENHANCE.value].ended_at,
        "correlation_id": receipt.correlation_id,
    }
    assert taken[2]["product_url"] == ""
    ImageEnhanced.model_validate(taken[2])
