"""What a worker makes of a message: the request to run a task."""

from typing import Any

from celery.worker.request import Request
from kombu.message import Message


class ReadOnce(Request):
    """A request that gives the thread of its run the message as the consumer has read it, and not
    its text, to be read again."""

    def __init__(self, message: Message, **options: Any) -> None:
        super().__init__(message, **options)
        # Of a message in Celery's first form it is given something else to begin with.
        if not self._decoded:
            self._body, self._content_type, self._content_encoding = message.payload, None, None
