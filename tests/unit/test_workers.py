"""Which workers answer."""

import socket

import pytest
from celery import Celery
from kombu.utils import functional

from pipeline import workers
from pipeline.backlog import backlog
from pipeline.errors import BrokerUnavailable
from pipeline.workers import RollCall


class Clock:
    """The time, and how often workers were asked."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.asked = 0
        self.answers: dict[str, list[str]] = {}

    def time(self) -> float:
        return self.now

    def ask(self) -> dict[str, list[str]]:
        self.asked += 1
        return self.answers


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(workers, "time", clock)
    return clock


def test_however_many_look_workers_are_asked_every_few_seconds(clock: Clock) -> None:
    clock.answers = {"b": ["q"], "a": ["q"]}
    call = RollCall(clock.ask)
    for _ in range(3):
        assert [worker.name for worker in call()] == ["a", "b"]
    assert clock.asked == 1
    clock.now += workers.ASK_EVERY
    call()
    assert clock.asked == 2


def test_a_worker_that_misses_a_question_is_not_gone_and_one_that_misses_many_is(
    clock: Clock,
) -> None:
    call = RollCall(clock.ask)
    clock.answers = {"busy": ["old"], "gone": ["q"]}
    call()
    clock.now += workers.ASK_EVERY
    clock.answers = {}
    assert [(one.name, one.seen_at) for one in call()] == [("busy", 1_000.0), ("gone", 1_000.0)]
    clock.now += workers.PATIENCE
    clock.answers = {"busy": ["new"]}
    assert [(one.name, one.queues, one.seen_at) for one in call()] == [
        ("busy", ("new",), clock.now)
    ]


def test_a_broker_that_is_away_is_asked_again_at_the_next_look(clock: Clock) -> None:
    answers = iter([BrokerUnavailable("away"), {"a": ["q"]}])

    def ask() -> dict[str, list[str]]:
        answer = next(answers)
        if isinstance(answer, BrokerUnavailable):
            raise answer
        return answer

    call = RollCall(ask)
    with pytest.raises(BrokerUnavailable):
        call()
    assert [worker.name for worker in call()] == ["a"]


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
@pytest.mark.parametrize("ask", [workers.workers, backlog])
def test_a_broker_that_is_away_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, scheme: str, ask: object
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setattr(functional, "sleep", lambda _: pytest.fail("it is waited for"))
    app = Celery("asks", set_as_current=False, broker=f"{scheme}://127.0.0.1:{port}//")
    with pytest.raises(BrokerUnavailable, match="refused"):
        ask(app)  # type: ignore[operator]
    app.close()
