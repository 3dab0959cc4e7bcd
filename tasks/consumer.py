"""The worker's consumer: nothing that is sent to one of our queues disappears.

By itself Celery logs and drops a message that does not decode or is of a content type that it
does not accept. It rejects what is not a task and unknown tasks, which on the Redis transport drops
them, too. Some broken messages end its event loop, and with it the worker, and some it never
acknowledges. All of these are handed to ``tasks.foreign``.
"""

import logging
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from celery import bootsteps
from celery.worker.consumer import Consumer
from kombu import compression
from kombu.message import Message

from pipeline.errors import InvalidMessage
from pipeline.logs import Facts, facts_of_task, working_at
from pipeline.messages import ImageMessage
from pipeline.queues import JOBS, QUEUES, Lane, Stage, queue_of
from pipeline.valkey import QUEUE
from tasks import foreign
from tasks.logs import ARRIVALS

log = logging.getLogger(__name__)

STAGES = frozenset(stage.value for stage in Stage)
# Celery's own tasks, which nobody of ours sends, and the one that stands in for no task.
NOT_SENT = ("celery.", foreign.NAME)


# How often the events of tasks are sent, in seconds.
EVENTS_EVERY = 0.5


class EventsTogether(bootsteps.StartStopStep):
    """Sends the events of tasks several in a message: each message of its own costs as much as one
    of the work, on RabbitMQ with a wait for its confirm.

    Only the thread of the event loop sends them. By itself Celery lets the thread of a task do so
    when 24 have come together; the loop may then read the confirm that this thread waits for, and
    the worker stands still for ever.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        """From now on, on the connection that there is now."""
        consumer.event_dispatcher.buffer_limit = sys.maxsize
        self._timer = consumer.timer.call_repeatedly(EVENTS_EVERY, consumer._flush_events)

    def stop(self, consumer: Any) -> None:
        """Send what there is."""
        if self._timer is not None:
            self._timer.cancel()
            consumer._flush_events()


class ParkingConsumer(Consumer):
    """Celery's consumer with another end for messages that it would drop."""

    def on_send_event_buffered(self) -> None:
        """Nothing yet; see ``EventsTogether``."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """What is called with each message."""
        _refuse_compression()
        self._handle = super().create_task_handler(*args, **kwargs)
        tells_of_arrivals = logging.getLogger(ARRIVALS).isEnabledFor(logging.INFO)

        def on_message(message: Message) -> None:
            try:
                _check(message)
                with working_at(_facts(message)) if tells_of_arrivals else nullcontext():
                    self._handle(message)
            except InvalidMessage as error:
                self._pass_on(message, str(error))
            except Exception as error:
                # Otherwise it would end the worker's event loop, and the next worker's.
                log.warning("a message that Celery does not take", exc_info=True)
                self._pass_on(message, f"{type(error).__name__}: {error}")

        return on_message

    def on_unknown_message(self, body: Any, message: Message) -> None:
        """Not a task: perhaps an image job."""
        self._pass_on(message, "")

    def on_unknown_task(self, body: Any, message: Message, exc: Exception) -> None:
        """A task of a name that this worker does not have."""
        self._pass_on(message, f"no task is called {exc}")

    def on_invalid_task(self, body: Any, message: Message, exc: Exception) -> None:
        """A task message with something missing."""
        self._pass_on(message, f"not a valid task message: {exc}")

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """A body that does not decode, or of a content type that is not accepted."""
        # A producer that names no content type may mean JSON.
        plain = not message.content_type and not message.errors
        self._pass_on(message, "" if plain else f"the body does not decode: {exc}")

    def _pass_on(self, message: Message, problem: str) -> None:
        queue, lane = self._origin(message)
        self._handle(foreign.as_task(message, queue, lane, problem))

    def _origin(self, message: Message) -> tuple[str, Lane]:
        """The queue that a message was taken from, whatever it was addressed to."""
        delivery = message.delivery_info or {}
        by_tag = {tag: name for name, tag in self.task_consumer._active_tags.items()}
        name = delivery.get(QUEUE) or by_tag.get(delivery.get("consumer_tag"))
        queue, lane = queue_of(str(name or delivery.get("routing_key") or JOBS))
        return (queue, lane) if queue in QUEUES else (JOBS, lane)


def _refuse_compression() -> None:
    """Take nothing apart that is compressed: nobody of ours compresses.

    Kombu does so as soon as it receives a message, whatever is in it, and a few kilobytes can be as
    large as all of the memory. They would end one worker after another.
    """
    for name in compression.encoders():
        compression.register(compression.get_encoder(name)[0], _refuse, name)


def _refuse(body: bytes) -> bytes:
    raise InvalidMessage("it is compressed")


def _facts(message: Message) -> Facts:
    """What the lines about the arrival of a message tell."""
    headers = message.headers
    if not isinstance(headers, dict) or "task" not in headers:
        return {}
    root_id = str(headers.get("root_id") or headers["id"])
    return facts_of_task(headers["task"], headers["id"], root_id, message.payload[0])


def _check(message: Message) -> None:
    """Look for what Celery would stumble over or drop without a word.

    Raises:
        InvalidMessage: with what is wrong.
    """
    headers = message.headers
    if not isinstance(headers, dict) or "task" not in headers:
        return
    if not isinstance(headers["task"], str) or not isinstance(headers.get("id"), str):
        raise InvalidMessage("not a valid task message: the headers task and id are text")
    try:
        body = message.payload
    except Exception as error:
        # Each way of decoding fails in its own.
        raise InvalidMessage(f"the body does not decode: {error}") from error
    fits = isinstance(body, list | tuple) and len(body) == 3
    if not fits or not isinstance(body[0], list | tuple) or not isinstance(body[1], dict):
        raise InvalidMessage("not a valid task message: the body is not [args, kwargs, embed]")
    if headers["task"].startswith(NOT_SENT):
        raise InvalidMessage(f"no task is called {headers['task']!r}")
    if headers["task"] in STAGES:
        if headers.get("expires"):
            raise InvalidMessage("not a valid task message: a stage's message must not expire")
        if len(body[0]) != 1 or body[1]:
            raise InvalidMessage("not a valid task message: a stage takes one argument")
        ImageMessage.decode(body[0][0])
