"""Nights of retraining: steps that are each done once, whatever happens to the workers."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import InvalidMessage, StoreUnavailable
from pipeline.retraining.nights import Night, Nights, Step
from pipeline.stores.documents_sqlite import SqliteDocuments


@pytest.fixture
def documents(tmp_path: Path) -> Iterator[SqliteDocuments]:
    documents = SqliteDocuments(f"sqlite:///{tmp_path}/documents.db")
    yield documents
    documents.close()


class Steps(dict[Step, object]):
    """Steps that note that they were done."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Step]] = []
        super().__init__(dict.fromkeys(Step, self.work))

    def work(self, night: Night) -> Night:
        """Done."""
        self.done.append((night.run, night.step))
        return night.over("cut over") if night.step is Step.SHADOW else night.next()


@pytest.fixture
def steps() -> Steps:
    return Steps()


def test_go_through_all_steps_and_end_with_an_outcome(documents, steps):
    nights = Nights(documents, steps)
    run = nights.begin().run
    night = nights.go_on()
    assert (night.step, night.outcome) == (None, "cut over")
    assert steps.done == [(run, step) for step in Step]


def test_are_begun_one_at_a_time(documents, steps):
    nights = Nights(documents, steps)
    first = nights.begin()
    assert nights.begin().run == first.run
    nights.go_on()
    assert nights.begin().run != first.run


def test_without_one_there_is_nothing_to_go_on_with(documents, steps):
    assert Nights(documents, steps).go_on() is None
    assert steps.done == []


def test_wait_at_a_step_and_go_on_with_it_later(documents, steps):
    waits = iter([True, True, False])
    steps[Step.SHADOW] = lambda night: None if next(waits) else night.over("cut over")
    nights = Nights(documents, steps)
    nights.begin()
    assert nights.go_on().step is Step.SHADOW
    assert nights.go_on().step is Step.SHADOW
    assert nights.go_on().outcome == "cut over"
    assert [step for _, step in steps.done] == [Step.PREPARE, Step.TRAIN, Step.REEMBED]


def test_are_worked_at_by_one_worker_at_a_time(documents, steps):
    begun, may_end = threading.Event(), threading.Event()

    def long(night: Night) -> Night:
        begun.set()
        assert may_end.wait(30)
        return night.next()

    steps[Step.TRAIN] = long
    Nights(documents, steps).begin()
    working = threading.Thread(target=Nights(documents, steps).go_on)
    working.start()
    assert begun.wait(30)
    assert Nights(documents, steps).go_on().step is Step.TRAIN
    may_end.set()
    working.join()
    assert Nights(documents, steps).current().outcome == "cut over"
    assert [step for _, step in steps.done].count(Step.PREPARE) == 1


def test_a_worker_keeps_its_lease_for_as_long_as_a_step_takes(documents, steps):
    nights = Nights(documents, steps, lease_seconds=0.2)
    others = Nights(documents, steps, lease_seconds=0.2)
    attempts = []

    def long(night: Night) -> Night:
        ended = threading.Event()
        for _ in range(8):
            ended.wait(0.1)
            attempts.append(others.go_on().step)
        return night.next()

    steps[Step.TRAIN] = long
    nights.begin()
    nights.go_on()
    assert attempts == [Step.TRAIN] * 8


def test_another_worker_goes_on_with_the_step_of_one_that_was_killed(documents, steps):
    nights = Nights(documents, steps)
    run = nights.begin().run
    documents.save_value("retraining_night", Night(run=run, step=Step.TRAIN).model_dump())
    documents.take_lease("retraining", "killed", -1)
    nights.go_on()
    assert steps.done[0] == (run, Step.TRAIN)


def test_a_step_that_fails_ends_the_night_with_the_reason(documents, steps):
    def failing(night: Night) -> Night:
        raise InvalidMessage("no queries")

    steps[Step.PREPARE] = failing
    nights = Nights(documents, steps)
    nights.begin()
    with pytest.raises(InvalidMessage):
        nights.go_on()
    night = nights.current()
    assert night.step is None
    assert night.outcome == "prepare failed: InvalidMessage: no queries"
    assert documents.take_lease("retraining", "other", 1)


def test_a_step_waits_for_what_is_away(documents, steps):
    away = iter([True, False])

    def reaching(night: Night) -> Night:
        if next(away):
            raise StoreUnavailable("gone")
        return night.next()

    steps[Step.PREPARE] = reaching
    nights = Nights(documents, steps)
    nights.begin()
    assert nights.go_on().step is Step.PREPARE
    assert nights.go_on().outcome == "cut over"
