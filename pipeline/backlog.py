"""What waits in each queue, its dead letters included, asked of the broker."""

from collections.abc import Iterable, Mapping
from typing import Any

from amqp.exceptions import NotFound
from celery import Celery
from kombu import Connection

from pipeline.queues import QUEUES, Lane, Stage, error_queue, lane_queue
from pipeline.topology import UNROUTED_QUEUE, asking

# The lane of a queue without lanes.
ALL = "all"

_NAMES = {(queue, lane.name.lower()): lane_queue(queue, lane) for queue in QUEUES for lane in Lane}
_NAMES |= {(queue, ALL): queue for queue in (*map(error_queue, QUEUES), UNROUTED_QUEUE)}

Backlog = dict[tuple[str, str], int]
"""Messages that wait, by queue and lane (``interactive``, ``bulk``, ``all``)."""


def backlog(app: Celery) -> Backlog:
    """Messages that wait in our queues and in their error queues; 0 in one never used.

    Raises:
        BrokerUnavailable: the broker cannot be asked.
    """
    counts = _counts(app, _NAMES.values())
    return {key: counts[name] for key, name in _NAMES.items()}


def waiting(app: Celery, lane: Lane) -> int:
    """Messages that wait in a lane of all stages together.

    Raises:
        BrokerUnavailable: the broker cannot be asked.
    """
    return sum(_counts(app, [lane_queue(stage.value, lane) for stage in Stage]).values())


def depths(waiting: Backlog) -> Mapping[str, int]:
    """Messages that wait in each of our queues, its lanes together."""
    return {queue: sum(waiting[queue, lane.name.lower()] for lane in Lane) for queue in QUEUES}


def _counts(app: Celery, names: Iterable[str]) -> dict[str, int]:
    with asking(app) as connection:
        embedded = connection.transport.driver_type == "redis"
        return (_in_lists if embedded else _in_queues)(connection, list(names))


def _in_lists(connection: Connection, names: list[str]) -> dict[str, int]:
    """On the Redis transport a queue is a list, which exists while it holds some."""
    channel: Any = connection.default_channel
    with channel.client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.llen(name)
        return dict(zip(names, pipe.execute(), strict=True))


def _in_queues(connection: Connection, names: list[str]) -> dict[str, int]:
    return {name: _count(connection, name) for name in names}


def _count(connection: Connection, queue: str) -> int:
    # A channel of its own: the broker closes it where there is no such queue.
    with connection.channel() as channel:
        try:
            return channel.queue_declare(queue, passive=True).message_count
        except NotFound:
            return 0
