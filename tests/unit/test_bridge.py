"""Plain JSON from producers that do not speak Celery."""

import pytest

from pipeline.bridge import job_from, start_of
from pipeline.errors import InvalidMessage
from pipeline.queues import ENHANCED_PRODUCTS, JOBS, RETRAINING, Stage, error_queue

JOB = {"docid": "shop-1", "product_id": 7, "product_url": "https://photos.example/7.jpg"}


@pytest.mark.parametrize("stage", list(Stage))
def test_a_job_begins_at_the_stage_whose_queue_it_was_sent_to(stage: Stage) -> None:
    assert start_of(stage.value) is stage


def test_a_job_for_no_stage_in_particular_begins_at_the_first() -> None:
    assert start_of(JOBS) is Stage.ENHANCE


@pytest.mark.parametrize("queue", [RETRAINING, ENHANCED_PRODUCTS, error_queue(JOBS), "misspelt"])
def test_other_queues_take_no_jobs_and_the_error_says_which_do(queue: str) -> None:
    with pytest.raises(InvalidMessage, match=r"image_enhance_process.*image_jobs"):
        start_of(queue)


def test_what_fits_the_contract_is_a_job() -> None:
    assert job_from(JOB).product_id == 7


@pytest.mark.parametrize("body", [None, [], 5, "text", {}, {**JOB, "docid": "no spaces"}])
def test_what_does_not_fit_is_refused_with_its_fields(body: object) -> None:
    with pytest.raises(InvalidMessage, match=r"message:|docid:"):
        job_from(body)
