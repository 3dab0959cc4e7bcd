"""The JSON of messages: read and written by faster libraries to what kombu makes of it."""

import datetime
import decimal
import json
from typing import Any

import pytest
from celery.utils.imports import symbol_by_name
from celery.worker.request import create_request_cls
from celery.worker.strategy import proto1_to_proto2
from hypothesis import given
from hypothesis import strategies as st
from kombu.message import Message
from kombu.serialization import dumps as registered
from kombu.utils import json as by_kombu

import tasks
from pipeline.message_json import dumps, loads
from pipeline.queues import Stage

TEXT = st.text(st.characters(codec=None))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read_by_both_and_read_alike(value: Any) -> None:
    value = by_kombu.loads(by_kombu.dumps(value))
    assert loads(dumps(value)) == by_kombu.loads(dumps(value)) == value
    assert loads(by_kombu.dumps(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        datetime.datetime(2026, 3, 4, 5, 6, tzinfo=datetime.UTC),
        datetime.date(2026, 3, 4),
        datetime.time(5, 6),
        decimal.Decimal("1.10"),
        b"bytes",
        b"\xff",
        2**64,
        -(2**63) - 1,
        10**400,
        "\ud800",
    ],
)
def test_what_json_does_not_know_or_few_can_read_comes_back_as_by_kombu(value: object) -> None:
    back = loads(dumps([value]))
    assert back == by_kombu.loads(by_kombu.dumps([value])) == [value]
    assert type(back[0]) is type(value)


def test_what_is_no_number_becomes_null() -> None:
    assert loads(dumps([float("nan"), float("inf")])) == [None, None]


def test_keys_become_text() -> None:
    assert loads(dumps({1: "one", None: "none"})) == {"1": "one", "null": "none"}


@pytest.mark.parametrize("form", [str, str.encode, lambda text: memoryview(text.encode())])
def test_text_and_bytes_and_views_are_read(form: Any) -> None:
    assert loads(form('{"a": ["\\u00e9\u00e9"]}')) == {"a": ["\u00e9\u00e9"]}


@pytest.mark.parametrize("text", ["", "{", b"\xff", '{"a": 1}x', "nul", '"\n'])
def test_what_is_no_json_is_an_error(text: Any) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_what_is_nested_too_deeply_is_an_error() -> None:
    with pytest.raises(RecursionError):
        loads("[" * 100_000)
    with pytest.raises(RecursionError):
        loads("[" * 100_000 + '"__type__"')


def test_what_cannot_be_written_is_an_error() -> None:
    with pytest.raises(TypeError):
        dumps(object())


def test_every_message_is_written_so() -> None:
    assert tasks.app.conf.task_serializer == "json"
    assert registered({"a": 1}, "json") == ("application/json", "utf-8", b'{"a":1}')


def request(message: Message, body: Any = None, **options: Any) -> tuple[Any, ...]:
    """What a thread is given to run: (..., body, content type, content encoding)."""
    task = tasks.app.tasks[Stage.TAG.value]
    ran: list[tuple[Any, ...]] = []

    class Pool:
        def apply_async(self, _target: Any, args: tuple[Any, ...], **_: Any) -> None:
            ran.append(args)

    base = symbol_by_name(task.Request)
    kind = create_request_cls(base, task, Pool(), "host", None, app=tasks.app)
    made = kind(message, app=tasks.app, task=task, body=body, **options)
    made.execute_using_pool(Pool())
    return ran[0]


def test_a_run_gets_the_message_as_the_consumer_has_read_it() -> None:
    body = [[{"docid": "shop"}], {}, {"chain": None}]
    message = Message(
        body=json.dumps(body).encode(),
        headers={"id": "1", "task": Stage.TAG.value},
        content_type="application/json",
        content_encoding="utf-8",
        accept={"application/json"},
    )
    read = message.payload
    *_, given, content_type, content_encoding = request(message)
    assert given is read
    assert (content_type, content_encoding) == (None, None)


def test_a_run_gets_a_message_of_celerys_first_form_as_celery_has_turned_it() -> None:
    body = {"id": "1", "task": Stage.TAG.value, "args": [{"docid": "shop"}], "kwargs": {}}
    message = Message(
        body=json.dumps(body).encode(),
        content_type="application/json",
        content_encoding="utf-8",
        accept={"application/json"},
    )
    turned, headers, decoded, utc = proto1_to_proto2(message, message.payload)
    *_, given, content_type, content_encoding = request(
        message, turned, headers=headers, decoded=decoded, utc=utc
    )
    assert given is turned
    assert given[0] == body["args"]
    assert (content_type, content_encoding) == (None, None)
