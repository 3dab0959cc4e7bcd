"""Writes of several threads: committed together, undone alone, lost never."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event

from pipeline.stores import group_commit, sqlite
from pipeline.stores.group_commit import GroupCommit, TurnTimeout

Insert = Callable[[sqlite3.Connection], int]


class Numbers:
    """A table of numbers, written by threads; ``told`` is all that its connections ran."""

    def __init__(self, path: Path, patience: float = 30) -> None:
        self.path = path
        self.told: list[str] = []
        self._engine: Engine = create_engine(f"sqlite:///{path}")
        event.listen(self._engine, "connect", self._connected)
        self.together = GroupCommit(self._lent, patience)
        self.together.run(
            lambda driver: driver.execute(
                "CREATE TABLE numbers (number INTEGER PRIMARY KEY,"
                " of INTEGER REFERENCES numbers DEFERRABLE INITIALLY DEFERRED)"
            )
        )
        self.told.clear()
        self._threads = ThreadPoolExecutor(50)

    @contextmanager
    def _lent(self) -> Iterator[sqlite3.Connection]:
        with closing(self._engine.raw_connection()) as connection:
            yield connection.driver_connection

    def _connected(self, connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.set_trace_callback(self.told.append)

    def insert(self, number: int, of: int | None = None) -> "Future[int]":
        """In a thread of its own, which has come to wait when this returns."""

        def work(driver: sqlite3.Connection) -> int:
            driver.execute("INSERT INTO numbers VALUES (?, ?)", (number, of))
            return number

        before = len(self.together._waiting)
        future = self._threads.submit(self.together.run, work)
        limit = time.monotonic() + 10
        while len(self.together._waiting) == before and not future.done():
            assert time.monotonic() < limit
            time.sleep(0.001)
        return future

    def known(self) -> list[int]:
        """Read by another connection: what is committed."""
        with closing(sqlite3.connect(self.path)) as connection:
            rows = connection.execute("SELECT number FROM numbers ORDER BY number").fetchall()
        return [number for (number,) in rows]

    def count(self, statement: str) -> int:
        return sum(one.startswith(statement) for one in self.told)

    def close(self) -> None:
        self._threads.shutdown()
        self._engine.dispose()


@contextmanager
def opened(path: Path, patience: float = 30) -> Iterator[Numbers]:
    numbers = Numbers(path, patience)
    yield numbers
    numbers.close()


@pytest.fixture
def numbers(tmp_path: Path) -> Iterator[Numbers]:
    with opened(tmp_path / "numbers.db") as made:
        yield made


def test_what_waits_is_committed_at_once_and_each_gets_its_own_result(numbers: Numbers) -> None:
    with numbers.together.alone():
        waiting = [numbers.insert(number) for number in range(5)]
        assert numbers.known() == []
    assert [future.result(10) for future in waiting] == [0, 1, 2, 3, 4]
    assert numbers.known() == [0, 1, 2, 3, 4]
    assert numbers.count("BEGIN") == numbers.count("COMMIT") == 1


def test_who_waits_for_nobody_commits_by_itself(numbers: Numbers) -> None:
    assert [numbers.insert(number).result(10) for number in range(3)] == [0, 1, 2]
    assert numbers.count("COMMIT") == 3


def test_a_group_has_a_largest_size(numbers: Numbers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MOST", 4)
    with numbers.together.alone():
        waiting = [numbers.insert(number) for number in range(10)]
    assert [future.result(10) for future in waiting] == list(range(10))
    assert numbers.count("COMMIT") == 3


def test_what_fails_is_undone_alone(numbers: Numbers) -> None:
    numbers.insert(2).result(10)
    with numbers.together.alone():
        waiting = [numbers.insert(number) for number in range(4)]
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        waiting[2].result(10)
    assert [waiting[place].result(10) for place in (0, 1, 3)] == [0, 1, 3]
    assert numbers.known() == [0, 1, 2, 3]


def test_a_commit_that_fails_is_the_error_of_whose_writes_it_refused(numbers: Numbers) -> None:
    with numbers.together.alone():
        waiting = [numbers.insert(1), numbers.insert(2, of=99), numbers.insert(3, of=1)]
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        waiting[1].result(10)
    assert [waiting[0].result(10), waiting[2].result(10)] == [1, 3]
    assert numbers.known() == [1, 3]


def test_a_file_that_another_process_keeps_is_the_error_of_all(
    numbers: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    other = sqlite3.connect(numbers.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with numbers.together.alone():
        waiting = [numbers.insert(number) for number in range(3)]
    for future in waiting:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            future.result(60)
    other.execute("ROLLBACK")
    other.close()
    assert numbers.insert(7).result(10) == 7
    assert numbers.known() == [7]


def test_who_waits_for_too_long_gives_up_and_the_others_go_on(tmp_path: Path) -> None:
    with opened(tmp_path / "numbers.db", patience=0.05) as numbers:
        with numbers.together.alone():
            late = numbers.insert(1)
            with pytest.raises(TurnTimeout):
                late.result(10)
        assert numbers.insert(2).result(10) == 2
        assert numbers.known() == [2]


def test_nobody_writes_beside_one_who_wants_to_be_alone(numbers: Numbers) -> None:
    inside: list[int] = []
    together = numbers.together

    def alone(number: int) -> None:
        with together.alone():
            inside.append(number)
            time.sleep(0.01)
            assert inside.pop() == number
            assert not inside

    threads = [threading.Thread(target=alone, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    waiting = [numbers.insert(number) for number in range(8)]
    for thread in threads:
        thread.join(10)
    assert sorted(future.result(10) for future in waiting) == list(range(8))
    assert numbers.known() == list(range(8))


def test_many_threads_at_once_lose_nothing(numbers: Numbers) -> None:
    def write(start: int) -> None:
        for number in range(start, start + 20):
            numbers.together.run(
                lambda driver, number=number: driver.execute(
                    "INSERT INTO numbers VALUES (?, NULL)", (number,)
                )
            )
            assert number in numbers.known()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(0, 160, 20)))
    assert numbers.known() == list(range(160))
    assert numbers.count("COMMIT") <= 160
