"""Messages in error queues without a record: they get theirs.

RabbitMQ puts messages there by itself: what was sent to no queue, and what a queue gives up. They
are parked like any failure, so that people find them where they look. A kill leaves others: between
a message and its record, and between a dead letter's two ends when it is dropped.
"""

import json
import logging
import uuid
from collections import Counter
from typing import Any

from pipeline.backlog import ALL, Backlog
from pipeline.dead_letters import Parking, letter_as_it_came, letter_from
from pipeline.error_queues import ErrorQueues, Kept
from pipeline.errors import InvalidMessage, PermanentError, PoisonMessage
from pipeline.messages import ImageMessage
from pipeline.queues import QUEUES, error_queue, queue_of
from pipeline.records import DeadLetter, ImageState
from pipeline.stores.documents import DocumentStore
from pipeline.topology import DELIVERY_LIMIT, UNROUTED

log = logging.getLogger(__name__)

# What RabbitMQ writes into a message that it moves; sent along again, it would be taken for news.
DEATH = "x-death"
NOTES = (DEATH, "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")


class Unrecorded:
    """Finds them and parks them.

    Args:
        documents: where the records are.
        queues: where the messages are.
        parking: how they are parked.
    """

    def __init__(self, documents: DocumentStore, queues: ErrorQueues, parking: Parking) -> None:
        self._documents = documents
        self._queues = queues
        self._parking = parking

    def park(self, waiting: Backlog) -> int:
        """Park what lies in the error queues that hold more messages than there are records.

        Args:
            waiting: messages that wait in each queue.

        Returns:
            How many were parked.

        Raises:
            BrokerUnavailable, StoreUnavailable: the same call parks the rest.
        """
        found = {queue: waiting[error_queue(queue), ALL] for queue in (*QUEUES, UNROUTED)}
        if not any(found.values()):
            return 0
        records: Counter[str] = Counter()
        for (queue, _), count in self._documents.count_dead_letters().items():
            records[queue] += count
        return sum(self.park_all(queue) for queue in found if found[queue] > records[queue])

    def park_all(self, queue: str) -> int:
        """Park all in ``error.<queue>`` that has no record; returns how many there were.

        A kill between the record and its message's end may park one once more.
        """
        keys: set[str] = set()
        parked = 0

        def is_done(message: Kept) -> bool:
            nonlocal parked
            letter = message.letter
            if letter is None:
                self._park(queue, message)
                parked += 1
                return True
            if letter.key in keys or self._is_forgotten(letter):
                return True
            keys.add(letter.key)
            if self._documents.dead_letter(letter.key) is None:
                self._parking.record(letter)
                parked += 1
            return False

        self._queues.walk(queue, is_done)
        return parked

    def _park(self, queue: str, message: Kept) -> None:
        letter, ends_image = _letter(queue, message)
        if not self._is_forgotten(letter):
            log.warning("a message in %s had no record: %s", error_queue(queue), letter.message)
            self._parking.park(letter, ends_image=ends_image)

    def _is_forgotten(self, letter: DeadLetter) -> bool:
        if letter.product_id is None:
            return False
        row = self._documents.image(letter.docid, letter.product_id)
        return row is not None and row.state is ImageState.DELETED


def _letter(queue: str, message: Kept) -> tuple[DeadLetter, bool]:
    """The dead letter of a message that RabbitMQ has moved, and whether an image ends with it."""
    headers = {name: value for name, value in message.headers.items() if not name.startswith(NOTES)}
    task, task_id = headers.get("task"), headers.get("id")
    error = _cause(queue, message)
    call = _stage_call(message.body)
    if task == queue and isinstance(task_id, str) and call:
        args, kwargs = call
        letter = letter_from(
            queue=queue,
            task=queue,
            task_id=task_id,
            root_id=str(headers.get("root_id") or ""),
            error=error,
            args=args,
            kwargs=kwargs,
            tries=DELIVERY_LIMIT + 1,
        )
        return letter, True
    letter = letter_as_it_came(
        queue=queue,
        # Of its own, for a producer may have sent one message many times.
        task_id=uuid.uuid4().hex,
        error=error,
        raw=message.body,
        headers=headers,
        content_type=message.content_type,
        routing_key=message.routing_key,
    )
    return letter, False


def _cause(queue: str, message: Kept) -> PermanentError:
    if queue == UNROUTED:
        return InvalidMessage(f"no queue is called {queue_of(message.routing_key)[0]!r}")
    deaths = message.headers.get(DEATH)
    last = deaths[0] if isinstance(deaths, list) and deaths else {}
    reason = last.get("reason") if isinstance(last, dict) else None
    if reason == "delivery_limit":
        return PoisonMessage(
            f"given back more than {DELIVERY_LIMIT} times without an end: its workers died or lost "
            "their connections"
        )
    return InvalidMessage(f"the broker has given it up: {reason or 'it does not say why'}")


def _stage_call(body: bytes) -> tuple[list[Any], dict[str, Any]] | None:
    """The arguments of a stage's message; none where it is no such message."""
    try:
        args, kwargs, _ = json.loads(body)
        ImageMessage.decode(args[0])
    except (ValueError, TypeError, LookupError, RecursionError, InvalidMessage):
        return None
    return list(args), dict(kwargs)
