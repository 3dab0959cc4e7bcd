"""What the store of impressions and clicks does, whatever its database."""

import time

import pytest

from pipeline.feedback import AskedFor, Chosen, Event, Shown
from tests.unit.stores.conftest import Opener
from tests.unit.stores.processes import run_and_kill, run_side_by_side

PROCESSES = 3
BATCHES = 10


def event(event_id: str, **fields) -> Event:
    return Event(
        **{
            "event_id": event_id,
            "kind": "impression",
            "docid": "B1",
            "product_id": 7,
            "position": 1,
            "slot": "dynamic",
            "source": "scores",
            **fields,
        }
    )


def click(event_id: str, **fields) -> Event:
    return event(event_id, kind="click", **fields)


class TestSaving:
    def test_counts_what_is_new(self, events):
        assert events.save([event("a"), event("b")]) == 2
        assert events.save([event("b"), event("c"), event("a")]) == 1
        assert events.save([]) == 0
        assert events.shown(0) == [Shown("dynamic", 1, "scores", 3, 0)]

    def test_keeps_an_event_as_it_was_first(self, events):
        assert events.save([event("a", position=1), event("a", position=2)]) == 1
        assert events.save([event("a", position=3)]) == 0
        assert [some.position for some in events.shown(0)] == [1]

    def test_tells_ids_apart_by_their_case(self, events):
        assert events.save([event("a"), event("A")]) == 2

    def test_keeps_whole_what_is_as_long_as_it_may_be(self, events):
        longest = {"query": "😀" * 200, "category": "é" * 200, "docid": "d" * 64}
        events.save([click("x" * 64, product_id=2**63 - 1, **longest)])
        (chosen,) = events.queries(0)
        assert (chosen.query, chosen.category) == (longest["query"], longest["category"])
        assert (chosen.docid, chosen.product_id) == (longest["docid"], 2**63 - 1)

    def test_takes_as_many_as_a_request_holds(self, events):
        assert events.save([event(f"e{number}") for number in range(500)]) == 500

    def test_takes_a_time_to_come_for_now(self, events):
        events.save([event("a", occurred_at=time.time() + 1e6)])
        assert len(events.shown(time.time() - 60)) == 1
        assert events.shown(time.time() + 60) == []


class TestClicks:
    def test_count_no_more_often_than_the_picture_was_shown_there(self, events):
        events.save([event("1"), event("2"), *(click(f"c{number}") for number in range(5))])
        events.save([event("3", product_id=8), click("4", product_id=9)])
        assert events.shown(0) == [Shown("dynamic", 1, "scores", 3, 2)]

    def test_are_counted_by_place_and_source(self, events):
        events.save(
            [
                event("1"),
                click("2"),
                event("3", position=2),
                event("4", source="rule_set"),
                event("5", slot="carousel"),
                click("6", slot="carousel"),
            ]
        )
        found = {(one.slot, one.position, one.source): one for one in events.shown(0)}
        assert {key: (one.impressions, one.clicks) for key, one in found.items()} == {
            ("dynamic", 1, "scores"): (1, 1),
            ("dynamic", 2, "scores"): (1, 0),
            ("dynamic", 1, "rule_set"): (1, 0),
            ("carousel", 1, "scores"): (1, 1),
        }

    def test_are_counted_of_a_period_and_a_business(self, events):
        events.save([event("1", occurred_at=100.0), event("2", occurred_at=200.0)])
        events.save([event("3", docid="B2", occurred_at=300.0)])
        assert sum(one.impressions for one in events.shown(200)) == 2
        assert sum(one.impressions for one in events.shown(0, "B1")) == 2
        assert events.shown(0, "B3") == []


class TestQueries:
    @pytest.fixture(autouse=True)
    def asked(self, events):
        words = {"query": "cofee", "category": "Coffee Shops"}
        events.save(
            [
                *(event(f"s{number}", product_id=number, **words) for number in (1, 2, 3)),
                *(event(f"t{number}", product_id=number, **words) for number in (1, 2, 3)),
                *(click(f"c{view}", product_id=2, **words) for view in "st"),
                click("c3", product_id=3, **words),
                *(event(f"z{number}", query="zzz") for number in range(4)),
                event("y", query="yoga", category="Yoga Classes", docid="B2"),
                event("none"),
            ]
        )

    def test_with_clicks_come_the_most_clicked_first(self, events):
        events.save([event("p", query="pipes"), click("q", query="pipes")])
        assert events.asked_for(0, clicked=True) == [
            AskedFor("cofee", "Coffee Shops", 6, 3),
            AskedFor("pipes", "", 1, 1),
        ]
        assert len(events.asked_for(0, clicked=True, limit=1)) == 1

    def test_without_clicks_come_the_most_shown_first(self, events):
        assert events.asked_for(0, clicked=False) == [
            AskedFor("zzz", "", 4, 0),
            AskedFor("yoga", "Yoga Classes", 1, 0),
        ]
        assert events.asked_for(0, "B2", clicked=False) == [AskedFor("yoga", "Yoga Classes", 1, 0)]

    def test_are_handed_over_with_what_was_chosen_for_them(self, events):
        assert events.queries(0) == [
            Chosen("cofee", "Coffee Shops", "B1", 2, 2),
            Chosen("cofee", "Coffee Shops", "B1", 3, 1),
            Chosen("yoga", "Yoga Classes", "", None, 1),
            Chosen("zzz", "", "", None, 4),
        ]

    def test_are_handed_over_by_when_they_came_in(self, events):
        before = time.time() + 0.001
        while time.time() <= before:
            pass
        events.save([event("late", query="late", occurred_at=5.0)])
        assert [one.query for one in events.queries(before)] == ["late"]
        assert "late" not in {one.query for one in events.queries(0, before)}

    def test_their_clicks_are_read_one_by_one_by_when_they_came_in(self, events, monkeypatch):
        monkeypatch.setattr("pipeline.stores.database.PAGE", 2)
        found = list(events.clicks(0, time.time() + 60))
        assert sorted(one.product_id for one in found) == [2, 2, 3]
        assert {one[:3] for one in found} == {("cofee", "Coffee Shops", "B1")}
        first = events.first_click(0)
        assert events.first_click(first) == first
        assert events.first_click(time.time() + 60) is None
        assert list(events.clicks(0, first)) == []
        assert len(list(events.clicks(first, time.time() + 60))) == 3


def test_what_was_recorded_before_a_time_is_forgotten(events, monkeypatch):
    monkeypatch.setattr("pipeline.stores.recorded.FORGOTTEN_AT_ONCE", 2)
    events.save([event(f"e{number}", occurred_at=1.0) for number in range(5)])
    assert events.forget(time.time() - 3600) == 0
    assert events.forget(time.time() + 1) == 5
    assert events.shown(0) == []
    assert events.save([event("e0")]) == 1


def test_processes_that_send_the_same_events_save_them_once(open_events):
    counts = run_side_by_side(save_batches, [(open_events,)] * PROCESSES)
    assert sum(counts) == BATCHES * 50
    store = open_events()
    assert sum(one.impressions for one in store.shown(0)) == BATCHES * 50
    store.check()
    store.close()


def save_batches(open_events: Opener) -> int:
    store = open_events()
    new = sum(
        store.save([event(f"e{batch * 50 + number}") for number in range(50)])
        for batch in range(BATCHES)
    )
    store.close()
    return new


def test_what_was_answered_outlives_a_kill(open_events):
    run_and_kill(save_one, open_events)
    store = open_events()
    assert store.save([event("a")]) == 0
    store.close()


def save_one(open_events: Opener) -> None:
    open_events().save([event("a")])
