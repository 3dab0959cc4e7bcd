"""The exchanges and queues of JustLens, as a broker is asked to make them.

On RabbitMQ every queue is a quorum queue: replicated, on disk, and it counts deliveries. What a
queue gives up goes to its error queue, and what no queue wants to an error queue of its own. The
transport for Redis and Valkey knows no arguments and ignores them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from amqp.exceptions import AMQPError, InternalError
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.transport.native_delayed_delivery import (
    declare_native_delayed_delivery_exchanges_and_queues,
)
from kombu.utils.functional import retry_over_time
from redis import RedisError

from pipeline.errors import BrokerUnavailable
from pipeline.queues import QUEUES, Lane, error_queue, lane_queue

# Named in the arguments of all others: what cannot be routed is kept, not dropped. The publisher's
# confirm says nothing about it, for a message without a queue is confirmed, too.
UNROUTED = "unrouted"
UNROUTED_QUEUE = error_queue(UNROUTED)
_UNROUTED = Exchange("justlens.unrouted", type="fanout", durable=True)

# A topic exchange, because delayed messages on quorum queues are held in a worker's slot with a
# direct one.
EXCHANGE = Exchange(
    "justlens",
    type="topic",
    durable=True,
    arguments={"alternate-exchange": _UNROUTED.name},
)
_DEAD = Exchange("justlens.dead", type="direct", durable=True)

# Workers count the runs of a message that outlived its worker, and park it after a few. This is the
# limit behind that one, for what never came as far as a run; RabbitMQ 4 has it as its default, 3.10
# has none. Lost connections count, too, so that it must not be small.
DELIVERY_LIMIT = 20

# Where retries wait: a delay must outlive a node, too.
DELAY_QUEUES = "quorum"

_QUORUM = {
    "x-queue-type": "quorum",
    # At-least-once dead-lettering needs a queue that refuses rather than drops when it is full; a
    # refused message is not confirmed, and its sender knows.
    "x-overflow": "reject-publish",
}


# A new queue on RabbitMQ 3.10 loses its process if its clock (5 s) ticks before its first write, as
# on a slow disk. It is started again at once and stays; the connection is gone. There are some
# fifty queues, delays among them.
_DECLARING_AGAIN = {
    "max_retries": 100,
    "interval_start": 0.1,
    "interval_step": 0.1,
    "interval_max": 0.2,
}


# What a client may raise when its broker is away or refuses.
BROKER_ERRORS = (OperationalError, AMQPError, RedisError, OSError)


@contextmanager
def broker_errors() -> Iterator[None]:
    """Turns what clients of the broker raise into an error of ours.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    try:
        yield
    except BROKER_ERRORS as error:
        raise BrokerUnavailable(f"the broker does not answer: {error}") from error


@contextmanager
def asking(app: Celery) -> Iterator[Connection]:
    """A connection to ask the broker something; one that is away is not waited for.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    with broker_errors(), app.connection_for_read() as connection:
        # Kombu would try again for six seconds, and somebody waits for the answer.
        connection.ensure_connection(max_retries=1, interval_start=0)
        yield connection


def work_queue(queue: str, lane: Lane = Lane.INTERACTIVE) -> Queue:
    """A queue that workers consume; what the broker gives up in it goes to its error queue."""
    name = lane_queue(queue, lane)
    return Queue(
        name,
        EXCHANGE,
        routing_key=name,
        durable=True,
        queue_arguments={
            **_QUORUM,
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": _DEAD.name,
            "x-dead-letter-routing-key": error_queue(queue),
            # By itself RabbitMQ forgets a dead letter that its target does not take.
            "x-dead-letter-strategy": "at-least-once",
        },
    )


def kept_queue(name: str) -> Queue:
    """A queue that nobody of ours consumes: dead letters, events for others."""
    exchange = _UNROUTED if name == UNROUTED_QUEUE else _DEAD
    return Queue(name, exchange, routing_key=name, durable=True, queue_arguments=dict(_QUORUM))


def work_queues() -> list[Queue]:
    """All queues that workers consume, the bulk lanes last."""
    return [work_queue(queue, lane) for lane in Lane for queue in QUEUES]


def declare(connection: Connection) -> None:
    """Make all exchanges and queues; safe to repeat.

    Raises:
        Exception: the connection's own errors; a queue that exists with other arguments is one.
    """
    retry_over_time(_declare, InternalError, (connection,), **_DECLARING_AGAIN)


def _declare(connection: Connection) -> None:
    with connection.channel() as channel:
        for name in (*QUEUES, UNROUTED):
            kept_queue(error_queue(name))(channel).declare()
        for queue in work_queues():
            queue(channel).declare()
    if connection.transport.driver_type == "amqp":
        # Celery's workers make these, too, but only when the first message may have failed already.
        declare_native_delayed_delivery_exchanges_and_queues(connection, DELAY_QUEUES)
