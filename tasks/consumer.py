"""The worker's consumer: what nobody understands is parked, not dropped.

By itself Celery logs and drops a message that is not a task, names an unknown task, or does not
decode; on the Redis transport even a rejected one is gone.
"""

import logging
from typing import Any

from celery.worker.consumer import Consumer

from pipeline.dead_letters import Parking, Publisher, letter_from
from pipeline.errors import InvalidMessage
from tasks.runtime import runtime

log = logging.getLogger(__name__)


class ParkingConsumer(Consumer):
    """Celery's consumer with other ends for the four kinds of messages it would drop."""

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Not a task message at all."""
        self._park(message, body, InvalidMessage("the message is not a task"))

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A task of a name that this worker does not have."""
        self._park(message, body, InvalidMessage(f"no task is called {exc}"))

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A task message with something missing."""
        self._park(message, body, InvalidMessage(f"not a valid task message: {exc}"))

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """A body that does not decode, or of a content type that is not accepted."""
        body = message.body
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
        self._park(message, text, InvalidMessage(f"the body does not decode: {exc}"))

    def _park(self, message: Any, body: Any, error: Exception) -> None:
        headers = message.headers or {}
        queue = str((message.delivery_info or {}).get("routing_key") or "image_jobs")
        letter = letter_from(
            queue=queue,
            task=str(headers.get("task", "")),
            task_id=str(headers.get("id") or message.delivery_tag),
            error=error,
            args=[body],
        )
        Parking(runtime().stores.documents, Publisher(self.app)).park(letter, ends_image=False)
        message.ack_log_error(log, self.connection_errors)
