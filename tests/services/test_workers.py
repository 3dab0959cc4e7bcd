"""Workers say what they take from, end what takes too long; beat ends when it is told to."""

import os

import psutil
import pytest

from pipeline.backlog import backlog
from pipeline.graph import Sender
from pipeline.queues import JOBS, Lane, Stage, lane_queue
from pipeline.records import ImageState
from tests.services.conftest import Site

pytestmark = pytest.mark.services


def test_a_worker_that_answers_names_its_queues(any_site: Site) -> None:
    ask = Sender(any_site.app).workers
    assert ask() == {}
    any_site.worker(Stage.SCORE.value, JOBS)
    any_site.until(ask, "the worker answers")
    (queues,) = ask().values()
    # On RabbitMQ a bulk lane may be waiting for its turn.
    assert set(queues) - {lane_queue(queue, Lane.BULK) for queue in (Stage.SCORE, JOBS)} == {
        Stage.SCORE.value,
        JOBS,
    }


def test_threads_that_wake_up_in_a_worker_stop_none_that_runs(site: Site) -> None:
    worker = site.worker()
    site.take_in(1)
    site.until(lambda: site.states() == {ImageState.DONE: 1}, "the image is done")
    threads = psutil.Process(worker.pid).threads()
    assert {os.sched_getscheduler(thread.id) for thread in threads} == {os.SCHED_BATCH}
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.mark.parametrize("option", ["--time-limit", "--soft-time-limit"])
def test_what_runs_past_the_time_limit_of_a_pool_of_processes_is_parked_once(
    site: Site, option: str
) -> None:
    # Celery takes ``prefork`` for its default, and then goes by the setting.
    pool = ["--pool", "processes", "--concurrency", "1", option, "2"]
    site.worker(Stage.ENHANCE.value, options=pool, TEST_PASS_SECONDS="80")
    site.take_in(1)
    site.until(site.stores.documents.dead_letters, "it is parked")
    (letter,) = site.parked(Stage.ENHANCE.value)
    assert (letter["product_id"], letter["exception"]) == (1, "DeadlinePassed")
    assert "time limit" in letter["message"]
    (record,) = site.stores.documents.dead_letters()
    assert (record.key, record.tries) == (letter["key"], 1)
    # The graph goes on without an enhanced version where the stage could say so.
    expected = ImageState.FAILED if option == "--time-limit" else ImageState.QUEUED
    site.until(lambda: site.states() == {expected: 1}, "its image is told")


def test_beat_ends_in_the_middle_of_sending(any_site: Site) -> None:
    # It does nothing but send.
    beat = any_site.beat(JUSTLENS_RECONCILE_EVERY="0.001")
    any_site.until(lambda: backlog(any_site.app)[JOBS, "interactive"] > 50, "it sends")
    beat.terminate()
    assert beat.wait(30) == 0
