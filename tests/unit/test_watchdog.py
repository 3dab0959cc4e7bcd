"""A stage that is stuck ends its process, and leaves word of it."""

import threading
from collections.abc import Iterator

import pytest

from tasks.watchdog import EXIT_STATUS, Watchdog

LIMIT = 30.0


class Exit:
    """What the process is ended with, without ending it."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.came = threading.Event()

    def __call__(self, status: int) -> None:
        self.statuses.append(status)
        self.came.set()


@pytest.fixture
def end(monkeypatch: pytest.MonkeyPatch) -> Iterator[Exit]:
    end = Exit()
    monkeypatch.setattr("tasks.watchdog.CHECK_EVERY", 0.01)
    monkeypatch.setattr("tasks.watchdog.os._exit", end)
    yield end


def test_a_run_past_its_deadline_ends_the_process_and_its_cause_is_noted(end: Exit) -> None:
    noted: list[tuple[str, str]] = []
    watchdog = Watchdog(lambda task_id, cause: noted.append((task_id, cause)))
    with watchdog.watch("in time", LIMIT), watchdog.watch("late", 0.02):
        assert end.came.wait(LIMIT)
    assert end.statuses[0] == EXIT_STATUS
    assert set(noted) == {("late", "ran past its deadline of 0 s")}


def test_runs_that_end_in_time_end_nothing(end: Exit) -> None:
    watchdog = Watchdog(lambda *_: None)
    for number in range(20):
        with watchdog.watch(str(number), 5.0):
            pass
    assert not end.came.wait(0.1)
