"""Dead letters: whatever ends badly is kept in ``error.<queue>`` and as a record for people."""

import base64
import json
import socket
import traceback as tracebacks
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from celery import Celery

from pipeline.errors import BrokerUnavailable
from pipeline.metrics import count_dead_letter
from pipeline.queues import error_queue
from pipeline.records import DeadLetter, ImageState
from pipeline.stores.documents import DocumentStore
from pipeline.topology import BROKER_ERRORS, kept_queue

Publish = Callable[[str, dict[str, Any]], None]
"""Publishes JSON straight to a queue, durable; raises unless the broker took it."""

Withdraw = Callable[[str, frozenset[str]], int]
"""Takes the dead letters of a queue with these keys out of its error queue; returns how many."""

TRACEBACK_LIMIT = 20_000
# Most characters of what came in that a record keeps; the message in the error queue has it whole.
RECORD_LIMIT = 100_000
# Ids of a message that fits its contract are no longer than this.
LONGEST_ID = 64
# How long the broker may take to confirm a message.
CONFIRM_SECONDS = 10


class Publisher:
    """Publishes to queues that nobody of ours consumes.

    Args:
        app: the Celery application whose broker is used.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def __call__(self, queue: str, body: dict[str, Any]) -> None:
        """Put one JSON body into ``queue``.

        Raises:
            BrokerUnavailable: the broker did not confirm it.
        """
        try:
            with self._app.producer_pool.acquire(block=True) as producer:
                producer.publish(
                    body,
                    exchange="",
                    routing_key=queue,
                    declare=[kept_queue(queue)],
                    serializer="json",
                    delivery_mode=2,
                    retry=True,
                    retry_policy=self._app.conf.task_publish_retry_policy,
                    confirm_timeout=CONFIRM_SECONDS,
                )
        except BROKER_ERRORS as error:
            raise BrokerUnavailable(f"the broker did not take the message: {error}") from error


class Parking:
    """Parks failures.

    First the message, then the record: a kill in between makes a second message, never a second
    record, and none is missing.

    Args:
        documents: where the records go.
        publish: how the messages go out.
    """

    def __init__(self, documents: DocumentStore, publish: Publish) -> None:
        self._documents = documents
        self._publish = publish

    def park(self, letter: DeadLetter, *, ends_image: bool) -> None:
        """Keep a failure; ``ends_image`` marks its image as failed, too."""
        for step in self.steps(letter, ends_image=ends_image):
            step()

    def record(self, letter: DeadLetter) -> None:
        """Keep what people are shown of a failure whose message lies in its error queue."""
        self._documents.park(_record(letter))

    def steps(self, letter: DeadLetter, *, ends_image: bool) -> list[Callable[[], object]]:
        """What ``park`` does, in its order; each may be repeated alone until it works."""
        queue, body = error_queue(letter.queue), letter.model_dump(mode="json")
        steps: list[Callable[[], object]] = [
            lambda: self._publish(queue, body),
            lambda: self.record(letter),
        ]
        if ends_image and letter.product_id is not None and letter.generation is not None:
            fence = (letter.docid, letter.product_id, letter.generation)
            failure = f"{letter.exception}: {letter.message}"
            failed = {"state": ImageState.FAILED, "failure": failure}
            steps.append(lambda: self._documents.update_image(*fence, failed))
        return [*steps, lambda: count_dead_letter(letter.queue, letter.exception)]


def drop_letters(
    documents: DocumentStore, withdraw: Withdraw, letters: Iterable[DeadLetter]
) -> int:
    """Forget dead letters; returns how many records there were.

    The records go last: it is by them that the same call, after a kill, finds what is left.
    """
    keys: dict[str, set[str]] = {}
    for letter in letters:
        keys.setdefault(letter.queue, set()).add(letter.key)
    for queue, parked in keys.items():
        withdraw(queue, frozenset(parked))
    return sum(documents.drop_dead_letter(key) for parked in keys.values() for key in parked)


def letter_from(
    *,
    queue: str,
    task: str,
    task_id: str,
    error: BaseException,
    root_id: str = "",
    args: Any = None,
    kwargs: Any = None,
    tries: int = 1,
) -> DeadLetter:
    """A dead letter for an exception; ids of the image are read from the message, if it is one."""
    body = args[0] if isinstance(args, list | tuple) and args else None
    body = body if isinstance(body, dict) else {}
    trace = "".join(tracebacks.format_exception(error))
    return DeadLetter(
        key=f"{queue}/{task_id}",
        queue=queue,
        task=task,
        task_id=task_id,
        root_id=root_id,
        correlation_id=str(body.get("correlation_id", ""))[:LONGEST_ID],
        docid=str(body.get("docid", ""))[:LONGEST_ID],
        product_id=_number(body.get("product_id")),
        generation=_number(body.get("generation")),
        args=_plain(args),
        kwargs=_plain(kwargs),
        tries=tries,
        exception=type(error).__name__,
        message=str(error)[:TRACEBACK_LIMIT],
        traceback=trace[-TRACEBACK_LIMIT:],
        host=socket.gethostname(),
    )


def letter_as_it_came(
    *,
    queue: str,
    task_id: str,
    error: BaseException,
    raw: bytes,
    headers: Mapping[str, Any],
    **properties: str,
) -> DeadLetter:
    """A dead letter for a message that was not run; it can be sent again as it came.

    Args:
        raw: its body.
        properties: what else it takes to send it, such as its content type.
    """
    letter = letter_from(
        queue=queue,
        task=str(headers.get("task", ""))[:200],
        task_id=task_id,
        error=error,
        args=_readable(raw),
    )
    whole = {"args": [_text(raw)], "kwargs": _plain({**properties, "headers": dict(headers)})}
    return letter.model_copy(update=whole)


def _readable(raw: bytes) -> list[Any]:
    """The arguments that a body seems to hold, for the ids of the image in them."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return []
    if isinstance(body, list) and body and isinstance(body[0], list):
        return body[0]
    return [body]


def _text(raw: bytes) -> str:
    """The body as text; in base64, and saying so, where it is none."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(raw).decode()}"


def _record(letter: DeadLetter) -> DeadLetter:
    """What people are shown: a store has a limit for a document, and a reader for a page."""
    size = len(json.dumps([letter.args, letter.kwargs]))
    if size <= RECORD_LIMIT:
        return letter
    start = json.dumps([letter.args, letter.kwargs])[:RECORD_LIMIT]
    note = f"the first {RECORD_LIMIT} of {size} characters; {error_queue(letter.queue)} has all"
    return letter.model_copy(update={"args": [start], "kwargs": {"cut_off": note}})


def _number(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return value if fits else None


def _plain(value: Any) -> Any:
    """JSON values that every store takes, whatever a foreign message held."""
    text = json.dumps(value, default=repr, ensure_ascii=False)
    # Halves of surrogate pairs are no Unicode, and neither NaN nor infinity is JSON.
    return json.loads(text.encode("utf-8", "replace"), parse_constant=str)
