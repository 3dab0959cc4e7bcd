"""Whatever lies in a list becomes a message."""

import base64
import json
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.valkey import QUEUE, Channel, envelope

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


def test_one_client_sends_all_commands_of_a_channel_until_its_connections_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kombu.transport.redis.Channel.__init__", lambda channel: None)
    made = []
    monkeypatch.setattr(
        "kombu.transport.redis.Channel._create_client",
        lambda channel, asynchronous=False: made.append(asynchronous) or SimpleNamespace(),
    )
    monkeypatch.setattr("kombu.transport.redis.Channel._disconnect_pools", lambda channel: None)
    channel = Channel()
    assert channel._create_client() is channel._create_client()
    channel._disconnect_pools()
    assert channel._create_client() is channel._create_client()
    assert made == [False, False]
