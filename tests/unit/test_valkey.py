"""Whatever lies in a list becomes a message."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.topology import EXCHANGE
from pipeline.valkey import QUEUE, Channel, QoS, envelope

KOMBUS = {
    "body": base64.b64encode(b"[]").decode(),
    "content-type": "application/json",
    "content-encoding": "utf-8",
    "headers": {"task": "image_tag_process"},
    "properties": {
        "body_encoding": "base64",
        "delivery_tag": "seven",
        "delivery_info": {"exchange": "justlens", "routing_key": "image_tag_process"},
    },
}


def in_kombus_form(**changes: Any) -> bytes:
    return json.dumps({**KOMBUS, **changes}).encode()


def test_a_message_of_kombu_stays_as_it_is_but_for_its_tag() -> None:
    found = envelope("image_tag_process", in_kombus_form())
    assert found["headers"] == KOMBUS["headers"]
    assert found["body"] == KOMBUS["body"]
    assert found["properties"]["delivery_info"]["exchange"] == "justlens"


def test_equal_messages_are_told_apart() -> None:
    tags = {envelope("q", in_kombus_form())["properties"]["delivery_tag"] for _ in range(10)}
    assert len(tags) == 10


def test_the_list_that_a_message_was_taken_from_is_noted_whatever_it_says() -> None:
    found = envelope("image_jobs.bulk", in_kombus_form())
    assert found["properties"]["delivery_info"][QUEUE] == "image_jobs.bulk"


@pytest.mark.parametrize(
    "item",
    [
        b"",
        b"hello",
        b"\xff\x00",
        b"5",
        b"[" * 100_000,
        b'{"docid": "shop-1"}',
        in_kombus_form(body=7),
        in_kombus_form(body="not base64!"),
        in_kombus_form(properties=None),
        in_kombus_form(headers=[1]),
    ],
)
def test_anything_else_is_the_body_of_a_message_without_headers(item: bytes) -> None:
    found = envelope("image_jobs", item)
    assert base64.b64decode(found["body"]) == item
    assert found["headers"] == {}
    assert found["properties"]["delivery_info"]["routing_key"] == "image_jobs"


def made_without_a_server(monkeypatch: pytest.MonkeyPatch) -> Channel:
    monkeypatch.setattr("kombu.transport.redis.Channel.__init__", lambda channel: None)
    return Channel()


def test_one_client_sends_all_commands_of_a_channel_until_its_connections_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = made_without_a_server(monkeypatch)
    made = []
    monkeypatch.setattr(
        "kombu.transport.redis.Channel._create_client",
        lambda channel, asynchronous=False: made.append(asynchronous) or SimpleNamespace(),
    )
    monkeypatch.setattr("kombu.transport.redis.Channel._disconnect_pools", lambda channel: None)
    assert channel._create_client() is channel._create_client()
    channel._disconnect_pools()
    assert channel._create_client() is channel._create_client()
    assert made == [False, False]


def test_the_queues_of_a_routing_key_are_asked_for_until_there_are_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = made_without_a_server(monkeypatch)
    asked = []
    bound: dict[str, list[str]] = {}

    def lookup(channel: Channel, exchange: str, key: str, default: object = None) -> list[str]:
        asked.append((exchange, key))
        return bound.get(key, [])

    monkeypatch.setattr("kombu.transport.redis.Channel._lookup", lookup)
    assert channel._lookup(EXCHANGE.name, "image_jobs") == []
    bound["image_jobs"] = ["image_jobs"]
    for _ in range(3):
        assert channel._lookup(EXCHANGE.name, "image_jobs") == ["image_jobs"]
    assert asked == [(EXCHANGE.name, "image_jobs")] * 2
    for _ in range(3):
        channel._lookup("reply.celery.pidbox", "image_jobs")
    assert len(asked) == 5


class Commands:
    """A client that writes down what it is asked for."""

    def __init__(self) -> None:
        self.unacked: dict[str, str] = {}
        self.asked: list[str] = []

    def hset(self, key: str, tag: str, value: str) -> None:
        self.asked.append(f"HSET {key}")
        self.unacked[tag] = value

    def hdel(self, key: str, tag: str) -> None:
        self.asked.append(f"HDEL {key}")
        del self.unacked[tag]


def test_taking_and_acknowledging_a_message_are_one_command_each() -> None:
    client = Commands()

    @contextmanager
    def conn_or_acquire() -> Iterator[Commands]:
        yield client

    channel = SimpleNamespace(
        unacked_key="unacked.1", conn_or_acquire=conn_or_acquire, do_restore=False
    )
    taken = envelope("image_tag_process", in_kombus_form())
    message = SimpleNamespace(_raw=taken, delivery_info=taken["properties"]["delivery_info"])
    qos = QoS(channel, prefetch_count=1)
    qos.append(message, "tag")
    assert not qos.can_consume()
    assert json.loads(client.unacked["tag"]) == [taken, "justlens", "image_tag_process"]
    qos.restore_visible()
    qos.ack("tag")
    assert qos.can_consume()
    assert client.unacked == {}
    assert client.asked == ["HSET unacked.1", "HDEL unacked.1"]
