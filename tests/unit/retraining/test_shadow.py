"""Putting a share of the questions to the challenger, off the request's path."""

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import REGISTRY

from pipeline.errors import StoreUnavailable
from pipeline.logs import TextLines, working_at
from pipeline.retraining.comparison import Comparison, Question
from pipeline.retraining.shadow import Pair, Shadow, takes
from tests.unit.retraining.pages import page

OURS = page(cafe=[(1, 0.9), (2, 0.5)])
ASKED = Question(("cafe",), query="cofee call 0172 1234567")


def count(outcome: str) -> float:
    found = REGISTRY.get_sample_value("justlens_shadow_questions_total", {"outcome": outcome})
    return found or 0.0


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)


class Shadowed:
    """A shadow, its challenger, and what it has recorded."""

    def __init__(self, share: float = 1.0, waiting: int = 4) -> None:
        self.records: list[Comparison] = []
        self.answer = lambda question: page(cafe=[(1, 0.8)])
        self.pair: Pair | None = Pair("minilm@1", "champion@2", lambda asked: self.answer(asked))
        self.shadow = Shadow(lambda: self.pair, self.save, share, waiting)

    def save(self, comparisons: list[Comparison]) -> None:
        self.records += comparisons


@pytest.fixture
def shadowed() -> Iterator[Shadowed]:
    made = Shadowed()
    yield made
    made.shadow.close()


def test_the_challenger_is_asked_the_same_and_what_came_of_it_is_recorded(shadowed) -> None:
    asked = []
    shadowed.answer = lambda question: asked.append(question) or page(cafe=[(1, 0.8)])
    shadowed.shadow.offer(ASKED, OURS, 0.25)
    until(lambda: shadowed.records)
    (record,) = shadowed.records
    assert asked == [ASKED]
    assert (record.champion, record.challenger) == ("minilm@1", "champion@2")
    assert (record.question, record.query) == (ASKED.key, "cofee call")
    assert record.champion_seconds == 0.25
    assert record.challenger_seconds > 0
    assert record.likeness.same_top == record.likeness.businesses == 1
    assert (record.error, record.is_replay) == ("", False)


def test_an_answer_is_given_before_the_challenger_is_asked(shadowed) -> None:
    may_go_on, threads = threading.Event(), []

    def answer(question: Question):
        threads.append(threading.get_ident())
        assert may_go_on.wait(20)
        return OURS

    shadowed.answer = answer
    shadowed.shadow.offer(ASKED, OURS, 0.1)
    assert shadowed.records == []
    may_go_on.set()
    until(lambda: shadowed.records)
    assert threading.get_ident() not in threads


def test_what_finds_no_room_is_left_out_and_counted(shadowed) -> None:
    may_go_on, before = threading.Event(), count("dropped")
    shadowed.answer = lambda question: may_go_on.wait(20) and OURS
    for _ in range(7):
        shadowed.shadow.offer(ASKED, OURS, 0.1)
    assert count("dropped") == before + 3
    may_go_on.set()
    until(lambda: len(shadowed.records) == 4)
    shadowed.shadow.offer(ASKED, OURS, 0.1)
    until(lambda: len(shadowed.records) == 5)


@pytest.mark.parametrize("error", [StoreUnavailable("it is away"), ZeroDivisionError("a bug")])
def test_a_challenger_that_fails_is_recorded_and_asked_again(shadowed, error, caplog) -> None:
    def fail(question: Question):
        raise error

    shadowed.answer = fail
    with caplog.at_level(logging.WARNING):
        shadowed.shadow.offer(ASKED, OURS, 0.1)
        shadowed.shadow.offer(ASKED, OURS, 0.1)
        until(lambda: len(shadowed.records) == 2)
    assert [one.error for one in shadowed.records] == [type(error).__name__] * 2
    assert shadowed.records[0].likeness is None
    assert "champion@2" in caplog.text


def test_its_failure_is_logged_under_the_request_that_was_answered(shadowed, caplog) -> None:
    def fail(question: Question):
        raise StoreUnavailable("it is away")

    shadowed.answer = fail
    caplog.handler.setFormatter(TextLines())
    with working_at({"correlation_id": "search-1"}):
        shadowed.shadow.offer(ASKED, OURS, 0.1)
    until(lambda: shadowed.records)
    assert caplog.text.endswith("it is away correlation_id=search-1\n")


def test_a_challenger_that_does_without_its_model_has_failed(shadowed) -> None:
    shadowed.answer = lambda question: page("The query was read by its characters.", cafe=[])
    shadowed.shadow.offer(ASKED, OURS, 0.1)
    until(lambda: shadowed.records)
    assert shadowed.records[0].error == "Degraded"


def test_nothing_is_compared_with_what_the_champion_answered_without_its_model(shadowed) -> None:
    shadowed.shadow.offer(Question(("cafe",)), page("no vectors", cafe=[]), 0.1)
    shadowed.shadow.offer(ASKED, OURS, 0.1)
    until(lambda: shadowed.records)
    assert [one.question for one in shadowed.records] == [ASKED.key]


def test_a_store_that_is_away_loses_the_record_and_nothing_else(shadowed) -> None:
    before, kept = count("lost"), shadowed.shadow._save

    def away(comparisons: list[Comparison]) -> None:
        raise StoreUnavailable("it is away")

    shadowed.shadow._save = away
    shadowed.shadow.offer(ASKED, OURS, 0.1)
    until(lambda: count("lost") == before + 1)
    assert shadowed.records == []
    shadowed.shadow._save = kept
    shadowed.shadow.offer(ASKED, OURS, 0.1)
    until(lambda: shadowed.records)
    assert [one.question for one in shadowed.records] == [ASKED.key]


def test_without_a_challenger_nothing_is_done(shadowed) -> None:
    shadowed.pair = None
    shadowed.shadow.offer(ASKED, OURS, 0.1)
    shadowed.shadow.close()
    assert shadowed.records == []


class TestShare:
    QUESTIONS = tuple(
        Question((f"shop-{number % 50}",), query=f"query {number}") for number in range(20_000)
    )

    @pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
    def test_as_many_questions_are_taken_as_it_says(self, share) -> None:
        taken = sum(takes(question.key, share) for question in self.QUESTIONS)
        assert taken / len(self.QUESTIONS) == pytest.approx(share, abs=0.006)

    def test_a_question_that_is_taken_is_taken_of_every_larger_share(self) -> None:
        few = {one.key for one in self.QUESTIONS if takes(one.key, 0.05)}
        more = {one.key for one in self.QUESTIONS if takes(one.key, 0.1)}
        assert few < more

    def test_the_same_question_has_the_same_key_in_every_process(self) -> None:
        asked = Question(("a", "b"), query=" cofee ", limit=3)
        assert asked.key == "a11425bc645110ec9462944896c6d988"
        assert asked.key == Question(("b", "a"), query="cofee").key
        others = [Question(("a",), query="cofee"), Question(("a", "b"), category="cofee")]
        assert asked.key not in {one.key for one in others}

    def test_what_is_not_taken_is_not_asked(self) -> None:
        shadowed = Shadowed(share=0.05)
        for question in self.QUESTIONS[:100]:
            shadowed.shadow.offer(question, OURS, 0.1)
            until(lambda: shadowed.shadow._room._value == 4)
        shadowed.shadow.close()
        taken = {one.key for one in self.QUESTIONS[:100] if takes(one.key, 0.05)}
        assert {one.question for one in shadowed.records} == taken
        assert 0 < len(taken) < 20
