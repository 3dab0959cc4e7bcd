"""A message that was delivered before runs alone."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from tasks.isolation import Isolation

LIMIT = 30.0
# How long a thread is watched that must not go on; one that may go on needs far less.
WATCHED = 0.1


class Runner:
    """A thread that goes through a door, says that it is inside, and stays until told."""

    def __init__(self, door: Callable[[], AbstractContextManager[None]]) -> None:
        self.inside = threading.Event()
        self.leave = threading.Event()
        self._door = door
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._door():
            self.inside.set()
            self.leave.wait(LIMIT)

    def end(self) -> None:
        self.leave.set()
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()


def waits_to_be_alone(isolation: Isolation) -> Runner:
    runner = Runner(isolation.alone)
    until = time.monotonic() + LIMIT
    while not isolation._waiting:
        assert time.monotonic() < until
    return runner


def test_ordinary_messages_run_together() -> None:
    isolation = Isolation()
    runners = [Runner(isolation.together) for _ in range(4)]
    assert all(runner.inside.wait(LIMIT) for runner in runners)
    for runner in runners:
        runner.end()


def test_one_that_wants_to_be_alone_waits_until_the_others_have_left() -> None:
    isolation = Isolation()
    others = [Runner(isolation.together) for _ in range(2)]
    assert all(other.inside.wait(LIMIT) for other in others)
    suspect = waits_to_be_alone(isolation)
    others[0].end()
    assert not suspect.inside.wait(WATCHED)
    others[1].end()
    assert suspect.inside.wait(LIMIT)
    suspect.end()


def test_nobody_enters_while_one_is_alone() -> None:
    isolation = Isolation()
    suspect = Runner(isolation.alone)
    assert suspect.inside.wait(LIMIT)
    newcomer, second = Runner(isolation.together), Runner(isolation.alone)
    assert not newcomer.inside.wait(WATCHED)
    assert not second.inside.is_set()
    suspect.end()
    assert second.inside.wait(LIMIT)
    second.end()
    assert newcomer.inside.wait(LIMIT)
    newcomer.end()


def test_newcomers_wait_behind_one_that_waits_to_be_alone() -> None:
    isolation = Isolation()
    first = Runner(isolation.together)
    assert first.inside.wait(LIMIT)
    suspect = waits_to_be_alone(isolation)
    newcomer = Runner(isolation.together)
    assert not newcomer.inside.wait(WATCHED)
    first.end()
    assert suspect.inside.wait(LIMIT)
    assert not newcomer.inside.is_set()
    suspect.end()
    assert newcomer.inside.wait(LIMIT)
    newcomer.end()


def test_alone_is_alone_however_many_threads_there_are() -> None:
    isolation = Isolation()
    lock = threading.Lock()
    inside = 0
    companions: list[int] = []

    def visit(number: int) -> None:
        nonlocal inside
        wants_to_be_alone = number % 5 == 0
        with isolation.alone() if wants_to_be_alone else isolation.together():
            with lock:
                inside += 1
                if wants_to_be_alone:
                    companions.append(inside)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(visit, range(500)))
    assert companions == [1] * 100


@pytest.mark.parametrize("door", ["alone", "together"])
def test_a_run_that_fails_gives_its_place_back(door: str) -> None:
    isolation = Isolation()
    with pytest.raises(ValueError), getattr(isolation, door)():
        raise ValueError
    for after in (isolation.alone, isolation.together):
        runner = Runner(after)
        assert runner.inside.wait(LIMIT)
        runner.end()
