"""Kombu's transport for Redis and Valkey, for producers that do not know kombu.

Kombu keeps a message as JSON of its own form and stops at anything else, after it has taken it from
the queue. Here whatever lies in a list becomes a message: one in kombu's form as it is, any other
bytes as the body of one without headers, as an AMQP producer would send it.
"""

import base64
import json
import uuid
from typing import Any

from kombu.transport import redis

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


class Channel(redis.Channel):
    """Kombu's channel, which reads what it takes from a list through ``envelope``."""

    _sender: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return self._create_reader()
        # Kombu makes a client for every command, which takes longer than the command. One serves
        # all threads, for what they share is its pool of connections.
        if self._sender is None:
            self._sender = super()._create_client()
        return self._sender

    def _disconnect_pools(self) -> None:
        self._sender = None
        super()._disconnect_pools()

    def _create_reader(self) -> Any:
        client = super()._create_client(asynchronous=True)
        parse = client.parse_response

        def parse_response(connection: Any, command_name: str, **options: Any) -> Any:
            response = parse(connection, command_name, **options)
            if command_name != "BRPOP" or not response:
                return response
            name, item = response
            queue = name.decode().rsplit(self.sep, 1)[0]
            return name, json.dumps(envelope(queue, item)).encode()

        client.parse_response = parse_response
        return client


class Transport(redis.Transport):
    """Chosen for addresses of Redis and Valkey in ``celeryconfig``."""

    Channel = Channel
