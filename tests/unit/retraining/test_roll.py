"""Hours of queries and clicks in the object store."""

from types import SimpleNamespace

import pyarrow as pa
import pytest

from pipeline.errors import StoreUnavailable
from pipeline.retraining.capture import DAY
from pipeline.retraining.roll import HOUR, SETTLING_SECONDS, Rolled, kept_hours, read_hour, roll
from tests.unit.stores.test_events import click, event
from tests.unit.stores.test_queries import typed

# 2026-11-26 04:00 UTC
FOUR = 1795665600
KEY = "online/queries/date=2026-11-26/hour=04.parquet"


@pytest.fixture
def stores(documents, objects, queries, events):
    return SimpleNamespace(documents=documents, objects=objects, queries=queries, events=events)


@pytest.fixture
def at(monkeypatch):
    """Saves things at a time of the test's choice."""

    def save(store, when: float, things: list) -> None:
        with monkeypatch.context() as then:
            for name in ("queries", "events"):
                then.setattr(f"pipeline.stores.{name}.time", SimpleNamespace(time=lambda: when))
            store.save(things)

    return save


@pytest.fixture
def hour(stores, at):
    """Something that happened between four and five."""
    at(stores.queries, FOUR, [typed("a"), typed("b", "yoga", category="", visitor="")])
    at(stores.queries, FOUR + HOUR - 0.01, [typed("c")])
    clicked = click("d", query="cofee", category="Coffee Shops", occurred_at=FOUR + 1.5)
    at(stores.events, FOUR + 2, [event("s", query="cofee"), clicked, click("no-query")])


def closed(hours: int = 1) -> float:
    return FOUR + hours * HOUR + SETTLING_SECONDS


def rows(stores) -> list[dict]:
    hours = [read_hour(stores, key) for _, key in kept_hours(stores)]
    return pa.concat_tables(hours).to_pylist()


@pytest.mark.usefixtures("hour")
def test_an_hour_becomes_one_object_of_its_queries_and_clicks(stores):
    assert roll(stores, days=180, now=closed()) == Rolled(hours=1, rows=4, removed=0)
    assert list(stores.objects.keys("online/")) == [KEY]
    found = rows(stores)
    assert [(row["kind"], row["query"]) for row in found] == [
        ("query", "cofee"),
        ("query", "yoga"),
        ("query", "cofee"),
        ("click", "cofee"),
    ]
    assert found[0] | {"at": 0} == {
        "kind": "query",
        "at": 0,
        "query": "cofee",
        "category": "Coffee Shops",
        "how": "characters",
        "confidence": 0.75,
        "visitor": "v",
        "docid": "",
        "product_id": None,
    }
    assert found[3]["at"].timestamp() == FOUR + 1.5
    assert (found[3]["docid"], found[3]["product_id"]) == ("B1", 7)


@pytest.mark.usefixtures("hour")
def test_an_hour_waits_until_its_last_transactions_have_ended(stores):
    assert roll(stores, days=180, now=closed() - 1).hours == 0
    assert roll(stores, days=180, now=closed()).hours == 1


@pytest.mark.usefixtures("hour")
def test_queries_leave_the_database_when_their_hour_is_rolled(stores, at):
    at(stores.queries, FOUR + HOUR, [typed("next")])
    roll(stores, days=180, now=closed())
    assert [one.query_id for one in stores.queries.recorded(0, 2e9)] == ["next"]
    assert len(list(stores.events.clicks(0, 2e9))) == 1


@pytest.mark.usefixtures("hour")
def test_a_roll_that_was_cut_off_is_done_again_to_the_same_object(stores, monkeypatch):
    with monkeypatch.context() as then, pytest.raises(StoreUnavailable):
        then.setattr(type(stores.documents), "save_value", gone)
        roll(stores, days=180, now=closed())
    first = stores.objects.get(KEY)
    assert roll(stores, days=180, now=closed()).hours == 1
    assert stores.objects.get(KEY) == first
    assert len(rows(stores)) == 4


@pytest.mark.usefixtures("hour")
def test_a_roll_cut_off_before_the_rows_went_does_not_write_them_twice(stores, monkeypatch):
    with monkeypatch.context() as then, pytest.raises(StoreUnavailable):
        then.setattr(stores.queries, "forget", of_an_hour)
        roll(stores, days=180, now=closed())
    assert roll(stores, days=180, now=closed(2)).hours == 0
    assert len(rows(stores)) == 4
    assert stores.queries.first(0) is None


def gone(*_):
    raise StoreUnavailable("gone")


def of_an_hour(before: float) -> int:
    if before > FOUR:
        gone()
    return 0


@pytest.mark.usefixtures("hour")
def test_hours_are_rolled_once_and_empty_ones_leave_nothing(stores, at):
    roll(stores, days=180, now=closed())
    assert roll(stores, days=180, now=closed(3)) == Rolled(0, 0, 0)
    at(stores.queries, FOUR + 5 * HOUR, [typed("e")])
    seen: list[float] = []
    assert roll(stores, days=180, now=closed(6), step=seen.append) == Rolled(1, 1, 0)
    assert seen == [FOUR + 5 * HOUR]
    assert [began for began, _ in kept_hours(stores)] == [FOUR, FOUR + 5 * HOUR]


def test_without_queries_nothing_is_written(stores):
    assert roll(stores, days=180, now=closed()) == Rolled(0, 0, 0)
    assert list(stores.objects.keys("online/")) == []


@pytest.mark.usefixtures("hour")
def test_a_large_hour_is_one_object_too(stores, monkeypatch):
    monkeypatch.setattr("pipeline.retraining.roll.ROWS_AT_ONCE", 3)
    assert roll(stores, days=180, now=closed()).rows == 4
    assert len(rows(stores)) == 4


@pytest.mark.usefixtures("hour")
def test_hours_go_when_they_have_been_kept_long_enough(stores, at):
    at(stores.queries, FOUR + HOUR, [typed("e")])
    roll(stores, days=2, now=closed(2))
    stores.objects.put("online/queries/notes", b"not an hour")
    assert roll(stores, days=2, now=FOUR + HOUR + 2 * DAY - 1).removed == 0
    assert roll(stores, days=2, now=FOUR + HOUR + 2 * DAY).removed == 1
    assert [began for began, _ in kept_hours(stores)] == [FOUR + HOUR]
    assert roll(stores, days=0, now=FOUR + 9 * DAY).removed == 0


@pytest.mark.usefixtures("hour")
def test_what_is_older_than_may_be_kept_is_not_written_any_more(stores):
    assert roll(stores, days=2, now=FOUR + 10 * DAY) == Rolled(0, 0, 0)
    assert stores.queries.first(0) is None
    assert list(stores.objects.keys("online/")) == []
