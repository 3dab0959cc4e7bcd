"""Workers say what they take from, on both brokers."""

import pytest

from pipeline.graph import Sender
from pipeline.queues import JOBS, Lane, Stage, lane_queue
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
