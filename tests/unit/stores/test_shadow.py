"""What the store of comparisons with a challenger does, whatever its database."""

import pytest

from pipeline.retraining.comparison import Comparison, Likeness
from pipeline.stores.shadow import Compared
from tests.unit.stores.processes import run_side_by_side

LIKE = Likeness(3, 2, 0.8125, (0.9, 0.1234), (0.5,))


def comparison(question: str = "q", **fields) -> Comparison:
    return Comparison(
        **{
            "champion": "minilm@1",
            "challenger": "champion@2",
            "question": question,
            "query": "cofee",
            "champion_seconds": 0.01,
            "challenger_seconds": 0.02,
            "likeness": LIKE,
            "recorded_at": 100.0,
            **fields,
        }
    )


def recorded(shadow, **limits) -> list[Comparison]:
    return shadow.comparisons("minilm@1", "champion@2", **limits)


def test_a_comparison_is_read_back_as_it_was_kept(shadow):
    answered = comparison()
    failed = comparison(likeness=None, error="StoreUnavailable", recorded_at=101.0)
    shadow.save([answered, failed])
    assert recorded(shadow) == [failed, answered]


def test_what_is_as_long_as_it_may_be_is_kept_whole(shadow):
    scores = tuple(0.1234 for _ in range(50))
    longest = comparison(
        champion="c" * 128,
        challenger="d" * 128,
        question="f" * 32,
        query="😀" * 200,
        likeness=Likeness(100, 100, 1 / 3, scores, scores),
    )
    shadow.save([longest])
    assert shadow.comparisons("c" * 128, "d" * 128) == [longest]


def test_the_same_question_counts_each_time_it_is_asked(shadow):
    shadow.save([comparison(), comparison()])
    shadow.save([comparison(recorded_at=200.0)])
    assert len(recorded(shadow)) == 3


def test_a_replayed_question_counts_once_as_it_was_last(shadow):
    replayed = comparison(is_replay=True)
    again = comparison(is_replay=True, challenger_seconds=0.5, recorded_at=200.0)
    shadow.save([replayed, comparison("other", is_replay=True), comparison()])
    shadow.save([again])
    assert {one.question for one in recorded(shadow)} == {"q", "other"}
    assert [one for one in recorded(shadow) if one.is_replay and one.question == "q"] == [again]


def test_the_newest_of_two_models_are_read(shadow):
    shadow.save([comparison(str(at), recorded_at=float(at)) for at in range(10)])
    shadow.save([comparison("x", champion="minilm@0"), comparison("y", challenger="champion@3")])
    assert [one.question for one in recorded(shadow, limit=3)] == ["9", "8", "7"]
    assert [one.question for one in recorded(shadow, since=8.0)] == ["9", "8"]


def test_models_that_were_compared_are_told_the_last_ones_first(shadow):
    shadow.save([comparison(recorded_at=at) for at in (100.0, 300.0)])
    shadow.save([comparison(challenger="champion@3", recorded_at=400.0)])
    assert shadow.pairs() == [
        Compared("minilm@1", "champion@3", 1, 400.0, 400.0),
        Compared("minilm@1", "champion@2", 2, 100.0, 300.0),
    ]


def test_what_was_recorded_before_a_time_is_forgotten(shadow, monkeypatch):
    monkeypatch.setattr("pipeline.stores.recorded.FORGOTTEN_AT_ONCE", 2)
    shadow.save([comparison(recorded_at=at) for at in (1.0, 2.0, 3.0, 4.0, 5.0)])
    assert shadow.forget(5.0) == 4
    assert [one.recorded_at for one in recorded(shadow)] == [5.0]


@pytest.mark.parametrize("is_replay", [False, True])
def test_processes_that_record_at_once_lose_nothing(open_shadow, is_replay):
    run_side_by_side(save_some, [(open_shadow, number, is_replay) for number in range(3)])
    store = open_shadow()
    assert len(recorded(store)) == (20 if is_replay else 60)
    store.close()


def save_some(open_shadow, process: int, is_replay: bool) -> None:
    store = open_shadow()
    for number in range(20):
        store.save([comparison(str(number), is_replay=is_replay, recorded_at=float(process))])
    store.close()
