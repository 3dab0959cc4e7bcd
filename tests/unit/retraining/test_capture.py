"""Queries are taken in at once, cleaned, and saved by and by."""

import threading
import time
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from pipeline.errors import StoreUnavailable
from pipeline.queries import Resolution
from pipeline.retraining.capture import DAY, DailyNames, QueryLog, TypedQuery


class Store:
    """Keeps queries in a list, while it is there."""

    def __init__(self) -> None:
        self.kept: list[TypedQuery] = []
        self.is_away = False
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def save(self, queries) -> None:
        self.may_go_on.wait(10)
        if self.is_away:
            raise StoreUnavailable("away")
        self.kept += queries


@pytest.fixture
def store() -> Store:
    return Store()


def resolved(query: str, **fields) -> Resolution:
    known = {"category": "Coffee Shops", "how": "characters", "confidence": 0.8, "suggestions": []}
    return Resolution(**{"query": query, **known, **fields})


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


def dropped() -> float:
    sample = REGISTRY.get_sample_value("justlens_captured_queries_total", {"outcome": "dropped"})
    return sample or 0.0


def test_a_query_is_kept_with_what_it_was_taken_to_mean(store):
    log = QueryLog(store.save)
    log.add(resolved("cofee"), "192.0.2.1")
    log.add(resolved("zzz", category=None, how="none", confidence=0.0))
    assert log.flush() == 2
    coffee, nothing = store.kept
    assert (coffee.query, coffee.category, coffee.how) == ("cofee", "Coffee Shops", "characters")
    assert coffee.confidence == 0.8
    assert (nothing.category, nothing.how, nothing.visitor) == ("", "none", "")
    assert coffee.query_id != nothing.query_id


def test_personal_data_never_reaches_the_store(store):
    log = QueryLog(store.save)
    log.add(resolved("plumber ann@example.org call 98765 43210"), "192.0.2.1")
    log.add(resolved("+49 170 1234567"), "192.0.2.1")
    log.flush()
    assert [one.query for one in store.kept] == ["plumber call"]
    assert "192.0.2.1" not in repr(store.kept)


def test_a_request_does_not_wait_for_a_store_that_hangs(store):
    store.may_go_on.clear()
    log = QueryLog(store.save, every=0.001)
    log.start()
    for number in range(100):
        log.add(resolved(f"query {number}"))
    assert store.kept == []
    store.may_go_on.set()
    until(lambda: len(store.kept) == 100)
    log.close()


def test_what_could_not_be_saved_is_saved_later_once_and_in_order(store):
    log = QueryLog(store.save)
    store.is_away = True
    log.add(resolved("first"))
    with pytest.raises(StoreUnavailable):
        log.flush()
    log.add(resolved("second"))
    store.is_away = False
    assert log.flush() == 2
    assert log.flush() == 0
    assert [one.query for one in store.kept] == ["first", "second"]


def test_of_more_than_may_wait_the_oldest_are_dropped_and_counted(store):
    log = QueryLog(store.save, most=3)
    before = dropped()
    for number in range(5):
        log.add(resolved(f"query {number}"))
    log.flush()
    assert [one.query for one in store.kept] == ["query 2", "query 3", "query 4"]
    assert dropped() - before == 2


def test_the_end_saves_what_waits(store):
    log = QueryLog(store.save, every=3600)
    log.start()
    log.add(resolved("last"))
    log.close()
    assert [one.query for one in store.kept] == ["last"]


def test_threads_lose_nothing_to_each_other(store):
    log = QueryLog(store.save, every=0.001)
    log.start()
    threads = [
        threading.Thread(target=lambda: [log.add(resolved("q")) for _ in range(500)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert len({one.query_id for one in store.kept}) == 2000


class TestNamesOfVisitors:
    def test_hold_for_a_day_and_not_for_the_next(self):
        names = DailyNames()
        first = names("192.0.2.1", 10 * DAY)
        assert names("192.0.2.1", 11 * DAY - 1) == first
        assert names("192.0.2.1", 11 * DAY) != first

    def test_tell_visitors_apart(self):
        names = DailyNames()
        assert names("192.0.2.1", 0) != names("192.0.2.2", 0)
        assert names("", 0) == ""

    def test_cannot_be_made_again_by_another_process(self):
        assert DailyNames()("192.0.2.1", 0) != DailyNames()("192.0.2.1", 0)

    def test_take_the_devices_of_a_household_together(self):
        names = DailyNames()
        assert names("2001:db8:1:2::1", 0) == names("2001:db8:1:2:ffff::9", 0)
        assert names("2001:db8:1:2::1", 0) != names("2001:db8:1:3::1", 0)
        assert names("::ffff:192.0.2.1", 0) != names("::ffff:192.0.2.2", 0)
