"""What every object store does."""

import hashlib
import threading
import time

import pytest

from pipeline.errors import ObjectMissing
from pipeline.stores.objects import content_type_of, object_key
from tests.unit.stores.conftest import Opener
from tests.unit.stores.processes import run_and_kill

KEY = object_key("originals", hashlib.sha256(b"x").hexdigest(), "image/png")


def test_an_object_is_read_back_byte_for_byte(objects):
    content = bytes(range(256)) * 1000
    objects.put(KEY, content)
    assert objects.get(KEY) == content
    assert objects.exists(KEY)


def test_an_empty_object_is_an_object(objects):
    objects.put("originals/empty.bin", b"")
    assert objects.get("originals/empty.bin") == b""


def test_an_object_already_there_stays_as_it_is(objects):
    objects.put(KEY, b"first")
    objects.put(KEY, b"second")
    assert objects.get(KEY) == b"first"


def test_a_missing_object_is_named_in_the_error(objects):
    with pytest.raises(ObjectMissing, match="originals/none"):
        objects.get("originals/none.jpg")
    objects.put(KEY, b"x")
    for key in ("originals", f"{KEY}/below"):
        assert not objects.exists(key)
        with pytest.raises(ObjectMissing):
            objects.get(key)


def test_a_deleted_object_is_gone_and_can_be_deleted_again(objects):
    objects.put(KEY, b"x")
    objects.delete(KEY)
    objects.delete(KEY)
    assert not objects.exists(KEY)
    assert list(objects.keys()) == []


def test_an_object_says_since_when_it_is_there(objects):
    assert objects.stored_at(KEY) is None
    objects.put(KEY, b"x")
    assert objects.stored_at(KEY) == pytest.approx(time.time(), abs=60)
    objects.delete(KEY)
    assert objects.stored_at(KEY) is None


def test_keys_come_in_order_and_by_prefix(objects):
    keys = [
        "enhanced/ab/1.jpg",
        "online/queries/date=2026-11-26/hour=04.parquet",
        "originals.bin",
        "originals/ab/2.png",
        "originals/b/1.jpg",
    ]
    for key in reversed(keys):
        objects.put(key, b"x")
    assert list(objects.keys()) == keys
    assert list(objects.keys("online/queries/date=2026-11-2")) == keys[1:2]
    assert list(objects.keys("originals/")) == keys[3:]
    assert list(objects.keys("originals/a")) == keys[3:4]
    assert list(objects.keys("originals")) == keys[2:]
    assert list(objects.keys("none/")) == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../secret",
        "originals/../../secret",
        "originals//a.jpg",
        "originals/",
        ".hidden",
        "=a",
        "originals/-a",
        "originals/A.jpg",
        "a\\b",
        "a\n",
        "a\x00b",
        "originals/%2e%2e/a",
        "a" * 2000,
    ],
)
def test_a_name_that_is_no_key_is_refused(objects, key):
    for call in (objects.get, objects.exists, objects.delete, lambda key: objects.put(key, b"x")):
        with pytest.raises(ValueError):
            call(key)


def test_pages_find_an_object_under_the_public_prefix(objects):
    assert objects.url(KEY) == f"/objects/{KEY}"
    assert objects.url("") == ""


def test_a_key_says_its_content_type(objects):
    assert content_type_of(KEY) == "image/png"
    assert content_type_of(object_key("originals", "ab" * 32, "text/html")).endswith("octet-stream")


def test_threads_that_put_the_same_object_leave_it_whole(objects):
    content = b"y" * 500_000
    threads = [threading.Thread(target=objects.put, args=(KEY, content)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert objects.get(KEY) == content
    assert list(objects.keys()) == [KEY]


def test_what_was_put_outlives_kill_9(open_objects):
    run_and_kill(put_one, open_objects)
    objects = open_objects()
    assert objects.get(KEY) == b"z" * 100_000
    objects.check()


def put_one(open_objects: Opener) -> None:
    open_objects().put(KEY, b"z" * 100_000)
