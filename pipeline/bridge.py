"""The bridge: plain JSON from producers that do not speak Celery becomes a graph.

A job that is published to ``image_jobs`` begins at the first stage, one that is published straight
to a stage's queue at that stage.
"""

from typing import Any

from pydantic import ValidationError

from pipeline.errors import InvalidMessage
from pipeline.messages import ImageJob, explain
from pipeline.queues import JOBS, Stage


def start_of(queue: str) -> Stage:
    """The stage at which a job sent to ``queue`` begins.

    Raises:
        InvalidMessage: the queue takes no image jobs.
    """
    if queue == JOBS:
        return Stage.ENHANCE
    try:
        return Stage(queue)
    except ValueError:
        known = ", ".join((*Stage, JOBS))
        raise InvalidMessage(f"{queue!r} takes no image jobs; these do: {known}") from None


def job_from(body: Any) -> ImageJob:
    """The image job in a decoded JSON body.

    Raises:
        InvalidMessage: with every field that does not fit.
    """
    try:
        return ImageJob.model_validate(body)
    except ValidationError as error:
        raise InvalidMessage(explain(error)) from error
