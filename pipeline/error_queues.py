"""The error queues, which nobody consumes: what lies in them goes when it is dealt with."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu import Connection
from pydantic import ValidationError

from pipeline.dead_letters import CONFIRM_SECONDS
from pipeline.errors import BrokerUnavailable
from pipeline.queues import error_queue
from pipeline.records import DeadLetter
from pipeline.topology import BROKER_ERRORS, EXCHANGE, UNROUTED, kept_queue, work_queue
from pipeline.valkey import envelope


@dataclass(frozen=True)
class Kept:
    """A message as it lies in an error queue.

    Attributes:
        routing_key: under which it was sent.
    """

    body: bytes
    headers: Mapping[str, Any]
    content_type: str
    routing_key: str

    @property
    def key(self) -> str:
        """The key of the dead letter that it is; empty where nobody of ours has parked it."""
        try:
            return str(json.loads(self.body)["key"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""

    @property
    def letter(self) -> DeadLetter | None:
        """The dead letter that it is; none where the broker has put it here by itself."""
        try:
            return DeadLetter.model_validate_json(self.body) if self.key else None
        except ValidationError:
            return None


IsDone = Callable[[Kept], bool]


class ErrorQueues:
    """The error queues, from which nobody takes messages but to replay or to drop them.

    Args:
        app: the Celery application whose broker is used.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def send_back(self, queue: str, body: bytes, properties: dict[str, Any]) -> None:
        """Send a message as it came to ``queue``; what had no queue, to where it was addressed.

        Raises:
            BrokerUnavailable: the broker did not confirm it.
        """
        if queue == UNROUTED:
            address = {"exchange": EXCHANGE, "routing_key": properties["routing_key"]}
        else:
            address = {"exchange": "", "routing_key": queue, "declare": [work_queue(queue)]}
        try:
            with self._app.producer_pool.acquire(block=True) as producer:
                producer.publish(
                    body,
                    **address,
                    content_type=properties.get("content_type") or "application/json",
                    content_encoding=_encoding(body),
                    headers=properties.get("headers") or {},
                    delivery_mode=2,
                    retry=True,
                    retry_policy=self._app.conf.task_publish_retry_policy,
                    confirm_timeout=CONFIRM_SECONDS,
                )
        except BROKER_ERRORS as error:
            raise BrokerUnavailable(f"the broker did not take the message: {error}") from error

    def withdraw(self, queue: str, keys: frozenset[str]) -> int:
        """Take the dead letters with these keys out of ``error.<queue>``; returns how many.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        return self.walk(queue, lambda message: message.key in keys)

    def walk(self, queue: str, is_done: IsDone) -> int:
        """Look at every message of ``error.<queue>``; those that are done go, the others stay.

        Returns:
            How many have gone.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        name = error_queue(queue)
        try:
            with self._app.connection_for_write() as connection:
                if connection.transport.driver_type == "redis":
                    return _walk_list(connection.default_channel, name, is_done)
                return _turn_over(connection, name, is_done)
        except BROKER_ERRORS as error:
            raise BrokerUnavailable(f"the broker does not answer: {error}") from error


def _walk_list(channel: Any, name: str, is_done: IsDone) -> int:
    gone = 0
    for item in channel.client.lrange(name, 0, -1):
        form = envelope(name, item)
        is_coded = form["properties"].get("body_encoding") == "base64"
        body = base64.b64decode(form["body"]) if is_coded else form["body"].encode()
        message = Kept(body, form.get("headers") or {}, form.get("content-type") or "", name)
        if is_done(message):
            gone += channel.client.lrem(name, 1, item)
    return gone


def _turn_over(connection: Connection, name: str, is_done: IsDone) -> int:
    """Turn the queue over once: what stays is published anew before it is acknowledged.

    Giving a message back instead counts as a delivery, of which quorum queues allow so many.
    """
    queue = kept_queue(name)
    with connection.channel() as channel:
        # Bodies as they came, whatever they say they are.
        channel.auto_decode = False
        producer = connection.Producer(channel)
        queue(channel).declare()
        gone = 0
        for _ in range(channel.queue_declare(name, passive=True).message_count):
            found = channel.basic_get(name)
            if found is None:
                break
            body = bytes(found.body)
            headers = found.properties.get("application_headers") or {}
            content_type = found.properties.get("content_type") or ""
            # The exchange is the queue's own, which leads here under the key that it came with.
            routing_key = found.delivery_info["routing_key"]
            if is_done(Kept(body, headers, content_type, routing_key)):
                gone += 1
            else:
                producer.publish(
                    body,
                    exchange=queue.exchange.name,
                    routing_key=routing_key,
                    content_type=found.properties.get("content_type"),
                    content_encoding=found.properties.get("content_encoding"),
                    headers=headers,
                    delivery_mode=2,
                    confirm_timeout=CONFIRM_SECONDS,
                )
            channel.basic_ack(found.delivery_tag)
    return gone


def _encoding(body: bytes) -> str:
    try:
        body.decode()
    except UnicodeDecodeError:
        return "binary"
    return "utf-8"
