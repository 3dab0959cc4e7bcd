"""The log of workers and of beat: Celery chooses level and file, the lines are ours."""

import logging
from typing import Any

from celery import Task
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    task_postrun,
    task_prerun,
)

from pipeline.logs import facts_of_task, lines, tell_no_places, work_at
from pipeline.settings import settings

# Celery's logger that tells of each message as it comes.
ARRIVALS = "celery.worker.strategy"


@after_setup_logger.connect
@after_setup_task_logger.connect
def write_our_lines(logger: logging.Logger, **_: Any) -> None:
    """Give the handlers that Celery has made our lines."""
    tell_no_places()
    for handler in logger.handlers:
        handler.setFormatter(lines(settings().log_format))


@after_setup_logger.connect
def tell_of_no_arrivals(loglevel: int, **_: Any) -> None:
    """Let a run have one line, at its end; at DEBUG also Celery's about its message's arrival.

    Six runs of each image would tell of themselves twice. That a run is under way, Flower says.
    """
    if loglevel > logging.DEBUG:
        logging.getLogger(ARRIVALS).setLevel(max(loglevel, logging.WARNING))


@task_prerun.connect
def begin(task: Task, **_: Any) -> None:
    """What this thread writes from now on is about the run that begins."""
    request = task.request
    work_at(facts_of_task(task.name, request.id, request.root_id or request.id, request.args))


@task_postrun.connect
def end(**_: Any) -> None:
    """The thread works at nothing until its next run."""
    work_at({})
