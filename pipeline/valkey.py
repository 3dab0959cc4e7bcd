"""Kombu's transport for Redis and Valkey, for producers that do not know kombu.

Kombu keeps a message as JSON of its own form and stops at anything else, after it has taken it from
the queue. Here whatever lies in a list becomes a message: one in kombu's form as it is, any other
bytes as the body of one without headers, as an AMQP producer would send it.

A message also costs fewer commands than with kombu's own.
"""

import base64
import json
import uuid
from queue import Empty
from typing import Any

from kombu.transport import redis, virtual

from pipeline.topology import EXCHANGE

QUEUE = "queue"
"""The entry of a message's delivery info that names the list that it was taken from."""


def envelope(queue: str, item: bytes) -> dict[str, Any]:
    """What lay in the list ``queue``, in kombu's form; with a delivery tag of its own.

    Producers may have sent one message many times, and its tag with it.
    """
    known = _in_kombus_form(item) or {
        "body": base64.b64encode(item).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {},
        "properties": {"body_encoding": "base64"},
    }
    properties = known["properties"]
    delivery = properties.get("delivery_info")
    delivery = delivery if isinstance(delivery, dict) else {}
    properties["delivery_info"] = {"exchange": "", "routing_key": queue, **delivery, QUEUE: queue}
    properties["delivery_tag"] = uuid.uuid4().hex
    return known


def _in_kombus_form(item: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(item)
        properties, body = found["properties"], found["body"]
        if properties.get("body_encoding") == "base64":
            base64.b64decode(body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    fits = isinstance(body, str) and isinstance(found.get("headers", {}), dict | None)
    return found if fits else None


class QoS(redis.QoS):
    """Notes what has been taken in one command, and what is acknowledged in another.

    Kombu keeps an index of their ages beside. No message of ours comes back by its age: how long a
    backlog or a training may take is not known. A dead worker's is given back by ``tasks.unacked``.
    """

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that was taken."""
        delivery = message.delivery_info
        noted = [message._raw, delivery["exchange"], delivery["routing_key"]]
        with self.channel.conn_or_acquire() as client:
            client.hset(self.unacked_key, delivery_tag, json.dumps(noted))
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget one whose work is done."""
        with self.channel.conn_or_acquire() as client:
            client.hdel(self.unacked_key, delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Give back what is old: nothing, for a living worker keeps what it has taken."""


class Channel(redis.Channel):
    """Kombu's channel, which reads what it takes from a list through ``envelope``."""

    QoS = QoS

    _sender: Any = None
    _in_poll: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._routes: dict[str, list[str]] = {}

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous)
        # Kombu makes a client for every command, which takes longer than the command. One serves
        # all threads, for what they share is its pool of connections.
        if self._sender is None:
            self._sender = super()._create_client()
        return self._sender

    def _disconnect_pools(self) -> None:
        self._sender = None
        super()._disconnect_pools()

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> list[str]:
        """The queues of a routing key. Ours are never unbound: they are asked for once."""
        if exchange != EXCHANGE.name:
            return super()._lookup(exchange, routing_key, default)
        if routing_key not in self._routes:
            found = super()._lookup(exchange, routing_key, default)
            if not found:
                return found
            self._routes[routing_key] = found
        return self._routes[routing_key]

    def _brpop_read(self, **options: Any) -> bool:
        try:
            try:
                taken = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            if not taken:
                raise Empty
            name, item = taken
            queue = name.decode().rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            self.connection._deliver(envelope(queue, item), queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()


class Transport(redis.Transport):
    """Chosen for addresses of Redis and Valkey in ``celeryconfig``."""

    Channel = Channel
