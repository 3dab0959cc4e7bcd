"""Waiting out an outage of what a slot cannot go on without."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from celery.exceptions import Reject
from celery.worker import state

from pipeline.errors import TransientError

log = logging.getLogger(__name__)

Result = TypeVar("Result")

LONGEST_PAUSE = 5.0


def outlast(action: Callable[[], Result]) -> Result:
    """Call until it works, with growing pauses.

    A worker that parks a failure must not acknowledge its message before it has: it waits in its
    slot, for while a store or the broker is away no other message would fare better.

    Raises:
        Reject: the worker is being stopped; the message goes back to its queue as it came.
    """
    pause = 0.1
    while True:
        try:
            return action()
        except TransientError as error:
            if state.should_stop is not None or state.should_terminate is not None:
                raise Reject(error, requeue=True) from error
            log.warning("%s; trying again in %.1f s", error, pause)
        threading.Event().wait(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
