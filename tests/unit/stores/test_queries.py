"""What the store of typed queries does, whatever its database."""

import time

from pipeline.retraining.capture import TypedQuery
from tests.unit.stores.conftest import Opener
from tests.unit.stores.processes import run_and_kill, run_side_by_side

PROCESSES = 3


def typed(query_id: str, query: str = "cofee", **fields) -> TypedQuery:
    known = {"category": "Coffee Shops", "how": "characters", "confidence": 0.75, "visitor": "v"}
    return TypedQuery(**{"query_id": query_id, "query": query, "asked_at": 5.25, **known, **fields})


def everything(queries) -> list[TypedQuery]:
    return list(queries.recorded(0, time.time() + 60))


def test_queries_are_read_as_they_were_saved(queries):
    longest = typed("b", "😀" * 200, category="é" * 200, how="meaning", visitor="f" * 16)
    assert queries.save([typed("a"), longest]) == 2
    assert everything(queries) == [typed("a"), longest]


def test_a_query_that_is_saved_again_changes_nothing(queries):
    queries.save([typed("a"), typed("b")])
    assert queries.save([typed("a", "other"), typed("c")]) == 1
    assert [one.query for one in everything(queries)] == ["cofee"] * 3
    assert queries.save([]) == 0


def test_queries_are_read_by_when_they_were_recorded_page_by_page(queries, monkeypatch):
    monkeypatch.setattr("pipeline.stores.database.PAGE", 2)
    for hour in (1, 2, 3):
        monkeypatch.setattr("pipeline.stores.queries.time.time", lambda hour=hour: hour * 3600.0)
        queries.save([typed(f"{hour}-{number}") for number in range(5)])
    monkeypatch.undo()
    found = list(queries.recorded(3600, 3 * 3600))
    assert [one.query_id for one in found] == [f"{h}-{n}" for h in (1, 2) for n in range(5)]
    assert queries.first(0) == queries.first(3600) == 3600.0
    assert queries.first(3601) == 7200.0
    assert queries.first(10_801) is None


def test_what_was_recorded_before_a_time_is_forgotten(queries, monkeypatch):
    monkeypatch.setattr("pipeline.stores.recorded.FORGOTTEN_AT_ONCE", 2)
    queries.save([typed(f"{number}") for number in range(5)])
    assert queries.forget(time.time() - 3600) == 0
    assert queries.forget(time.time() + 1) == 5
    assert everything(queries) == []


def test_processes_save_side_by_side(open_queries):
    counts = run_side_by_side(save_some, [(open_queries,)] * PROCESSES)
    assert sum(counts) == 200
    store = open_queries()
    assert len(everything(store)) == 200
    store.check()
    store.close()


def save_some(open_queries: Opener) -> int:
    store = open_queries()
    new = sum(
        store.save([typed(f"{batch * 50 + number}") for number in range(50)]) for batch in range(4)
    )
    store.close()
    return new


def test_what_was_saved_outlives_a_kill(open_queries):
    run_and_kill(save_one, open_queries)
    store = open_queries()
    assert everything(store) == [typed("a")]
    store.close()


def save_one(open_queries: Opener) -> None:
    open_queries().save([typed("a")])
