"""Parking the failure of a task, before its message is acknowledged."""

from typing import Any

from celery import Task
from celery.exceptions import TimeLimitExceeded

from pipeline.dead_letters import Parking, Publisher, letter_from
from pipeline.errors import DeadlinePassed
from pipeline.queues import JOBS, QUEUES, queue_of
from pipeline.records import DeadLetter
from tasks.outage import outlast
from tasks.runtime import runtime


class ParkingTask(Task):
    """A task that parks its failures in its run; this is for the run that was cut off."""

    Request = "tasks.request:ReadOnce"

    def on_failure(
        self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Park what the worker's time limit has ended: a pool of processes kills the run's.

        Celery calls this in the worker's main process, and has no request there.
        """
        if isinstance(exc, TimeLimitExceeded):
            letter = letter_from(
                queue=self.name if self.name in QUEUES else JOBS,
                task=self.name,
                task_id=task_id,
                error=DeadlinePassed(f"ran past the time limit of its worker: {exc}"),
                args=list(args or []),
                kwargs=dict(kwargs or {}),
            )
            park_letter(self.app, letter, ends_image=True)


def park(app: Any, request: Any, error: BaseException, *, ends_image: bool) -> None:
    """Park the failure of a task's request; returns when it is parked."""
    letter = letter_from(
        queue=queue_of(routing_key(request))[0],
        task=str(request.task),
        task_id=str(request.id),
        root_id=str(request.root_id or ""),
        error=error,
        args=list(request.args or []),
        kwargs=dict(request.kwargs or {}),
        tries=int(request.retries or 0) + 1,
    )
    park_letter(app, letter, ends_image=ends_image)


def park_letter(app: Any, letter: DeadLetter, *, ends_image: bool) -> None:
    """Park it, if it takes until the stores and the broker are back.

    Raises:
        Reject: the worker is being stopped; the message comes back and is parked then.
    """
    parking = Parking(runtime().stores.documents, Publisher(app))
    for step in parking.steps(letter, ends_image=ends_image):
        outlast(step)


def routing_key(request: Any) -> str:
    """Under which the message of a request was delivered."""
    return str((request.delivery_info or {}).get("routing_key") or request.task)
