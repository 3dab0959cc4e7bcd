"""The events that workers tell Flower."""

from types import SimpleNamespace
from typing import Any

from celery.events import EventDispatcher

from tasks.consumer import EVENTS_EVERY, EventsTogether


class Clock:
    """The event loop's timer, of which time passes when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def call_repeatedly(self, seconds: float, call: Any) -> SimpleNamespace:
        assert seconds == EVENTS_EVERY
        self.calls.append(call)
        return SimpleNamespace(cancel=self.calls.clear)


def test_events_go_out_together_and_from_the_event_loop_alone() -> None:
    sent: list[list[str]] = []
    dispatcher: Any = EventDispatcher.__new__(EventDispatcher)
    dispatcher.buffer_limit = 24
    waiting: list[str] = []

    def flush() -> None:
        sent.append(waiting.copy())
        waiting.clear()

    timer = Clock()
    consumer = SimpleNamespace(event_dispatcher=dispatcher, timer=timer, _flush_events=flush)
    step = EventsTogether(consumer)
    step.start(consumer)
    # The thread of a task sends what has come together only beyond this.
    assert dispatcher.buffer_limit > 10**9
    waiting += ["task-received", "task-started"]
    assert sent == []
    timer.calls[0]()
    waiting.append("task-succeeded")
    step.stop(consumer)
    assert sent == [["task-received", "task-started"], ["task-succeeded"]]
    assert timer.calls == []
