"""Uploads go first within a worker, and a backfill goes on all the same."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pipeline.queues import Lane
from tasks.right_of_way import RightOfWay

# Far longer than any test takes.
FOR_EVER = 60.0
# How long a thread is watched that must not go on; one that may go on needs far less.
WATCHED = 0.1


@pytest.fixture
def threads():
    with ThreadPoolExecutor(8) as pool:
        yield pool


def ended(future: "Future[object]") -> bool:
    time.sleep(WATCHED)
    return future.done()


class Upload:
    """A run of the interactive lane that works, waits and ends as it is told."""

    def __init__(self, way: RightOfWay, threads: ThreadPoolExecutor) -> None:
        self._steps = [threading.Event() for _ in range(4)]
        self._said = [threading.Event() for _ in range(4)]
        self._way = way
        self._future = threads.submit(self._run)
        self._said[0].wait(FOR_EVER)

    @property
    def is_over(self) -> bool:
        return self._future.done()

    def _pause(self, number: int) -> None:
        self._said[number].set()
        self._steps[number].wait(FOR_EVER)

    def _run(self) -> None:
        with self._way.run(Lane.INTERACTIVE):
            self._pause(0)
            with self._way.waiting():
                self._pause(1)
            self._pause(2)

    def go_on(self, number: int) -> None:
        self._steps[number].set()
        if number < 2:
            self._said[number + 1].wait(FOR_EVER)
        else:
            self._future.result(FOR_EVER)


def bulk(way: RightOfWay, act: Callable[[], None] = lambda: None) -> None:
    with way.run(Lane.BULK):
        act()


def test_a_run_of_the_bulk_lane_begins_when_no_upload_works(threads):
    way = RightOfWay(FOR_EVER)
    upload = Upload(way, threads)
    begun = threads.submit(bulk, way)
    assert not ended(begun)
    upload.go_on(0)
    begun.result(FOR_EVER)
    upload.go_on(1)
    again = threads.submit(bulk, way)
    assert not ended(again)
    upload.go_on(2)
    again.result(FOR_EVER)


def test_a_run_of_the_bulk_lane_gives_way_amid_its_work(threads):
    way = RightOfWay(FOR_EVER)
    inside, go_on = threading.Event(), threading.Event()

    def act() -> None:
        inside.set()
        go_on.wait(FOR_EVER)
        way.give_way()

    run = threads.submit(bulk, way, act)
    inside.wait(FOR_EVER)
    upload = Upload(way, threads)
    go_on.set()
    assert not ended(run)
    for number in range(3):
        upload.go_on(number)
    run.result(FOR_EVER)


def test_uploads_and_what_is_no_run_wait_for_nobody(threads):
    way = RightOfWay(FOR_EVER)
    uploads = [Upload(way, threads) for _ in range(3)]
    outside = threads.submit(way.give_way)
    assert ended(outside)
    assert not any(upload.is_over for upload in uploads), "all three work side by side"
    for upload in uploads:
        for number in range(3):
            upload.go_on(number)
    assert all(upload.is_over for upload in uploads)


def test_among_uploads_without_end_the_bulk_lane_goes_on(threads):
    way = RightOfWay(0.01)
    upload = Upload(way, threads)
    run = threads.submit(bulk, way, way.give_way)
    run.result(FOR_EVER)
    assert not upload.is_over, "the run ended beside the upload, not behind it"
    for number in range(3):
        upload.go_on(number)


def test_an_upload_that_fails_keeps_nobody_waiting(threads):
    way = RightOfWay(FOR_EVER)
    with pytest.raises(ZeroDivisionError), way.run(Lane.INTERACTIVE):
        1 / 0  # noqa: B018
    threads.submit(bulk, way).result(FOR_EVER)
