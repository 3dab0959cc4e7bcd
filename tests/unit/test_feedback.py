"""Click-through, and its uncertainty."""

import time

import pytest
from pydantic import ValidationError

from pipeline.feedback import Event, Place, Shown, by_position, by_source, click_through

FIELDS = {
    "event_id": "view-1_a",
    "kind": "click",
    "docid": "shop",
    "product_id": 7,
    "position": 1,
    "slot": "dynamic",
    "source": "scores",
}


# Intervals of R. G. Newcombe 1998, Statistics in Medicine 17, table I, method 3.
@pytest.mark.parametrize(
    ("clicks", "impressions", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(clicks, impressions, low, high):
    found = click_through(impressions, clicks)
    assert found.rate == clicks / impressions
    assert (found.low, found.high) == (
        pytest.approx(low, abs=5e-5),
        pytest.approx(high, abs=5e-5),
    )


def test_nothing_shown_says_nothing():
    found = click_through(0, 0)
    assert (found.rate, found.low, found.high) == (0, 0, 1)


def test_counts_are_added_up_by_place_and_by_source():
    shown = [
        Shown("dynamic", 2, "rule_set", 10, 1),
        Shown("dynamic", 1, "scores", 20, 8),
        Shown("dynamic", 2, "scores", 30, 3),
        Shown("carousel", 1, "scores", 5, 0),
    ]
    places = by_position(shown)
    assert list(places) == [Place("carousel", 1), Place("dynamic", 1), Place("dynamic", 2)]
    assert (places["dynamic", 2].impressions, places["dynamic", 2].clicks) == (40, 4)
    sources = by_source(shown)
    assert (sources["scores"].impressions, sources["scores"].clicks) == (55, 11)
    assert sources["rule_set"].rate == 0.1


def test_an_event_needs_neither_a_query_nor_a_time():
    event = Event(**FIELDS)
    assert (event.query, event.category) == ("", "")
    assert event.occurred_at == pytest.approx(time.time(), abs=60)


def test_an_event_keeps_no_personal_data():
    assert Event(**FIELDS, query="cafe ann@example.org", category="98765 43210").query == "cafe"
    assert Event(**FIELDS, category="98765 43210").category == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"event_id": ""},
        {"event_id": "x" * 65},
        {"event_id": "a b"},
        {"kind": "hover"},
        {"docid": "../up"},
        {"product_id": 0},
        {"position": 0},
        {"slot": "footer"},
        {"source": "mixed"},
        {"query": "x" * 201},
        {"occurred_at": -1},
        {"occurred_at": float("nan")},
        {"person": "Ann"},
    ],
)
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(ValidationError):
        Event(**{**FIELDS, **wrong})
