"""Group commit: what threads of a process write at the same time is committed at once.

An embedded database has one writer at a time, and each commit has to reach the disk. While one
thread writes, others leave their work with it: the next of them runs all that waits in a single
transaction. Nobody goes on before that commit, so that what was written is on the disk as if each
had committed by itself, and what one of them fails to do is undone for it alone.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from pipeline.stores.sqlite import take_write_lock

# Works in one transaction: the first of them waits for the last.
MOST = 32

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Any]
Connected = Callable[[], AbstractContextManager[sqlite3.Connection]]


class TurnTimeout(Exception):
    """Other threads of the process have kept the database busy for too long."""


class _Entry:
    """A thread that wants to write: some work that anybody may do, or a time for itself alone."""

    def __init__(self, work: Work | None = None) -> None:
        self.work = work
        self.is_called = False
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self._call = threading.Lock()
        self._call.acquire()

    def wait(self, seconds: float = -1) -> bool:
        """Until the work is done, or it is this thread's turn."""
        return self._call.acquire(timeout=seconds)

    def call(self) -> None:
        """Let the thread go on."""
        self.is_called = True
        self._call.release()


class GroupCommit:
    """The write transactions of a process on one database file.

    Args:
        connected: lends a connection of the driver, in which no transaction begins by itself, and
            that waits shortly for a lock; see ``pipeline.stores.sqlite``.
        patience: seconds that a thread waits for its turn.
    """

    def __init__(self, connected: Connected, patience: float) -> None:
        self._connected = connected
        self._patience = patience
        self._mutex = threading.Lock()
        self._waiting: deque[_Entry] = deque()
        self._is_busy = False

    def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """What ``work`` returns, once what it wrote is on the disk.

        Args:
            work: writes by the driver's connection and does nothing else, since it may be run in
                another thread, and twice where others have failed.

        Raises:
            TurnTimeout: others took too long.
            Exception: what ``work`` raised, or why its transaction could not be begun or committed.
        """
        entry = _Entry(work)
        self._wait(entry)
        if not entry.is_done:
            self._lead()
        if entry.error is not None:
            raise entry.error
        return entry.result

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other thread writes meanwhile.

        Raises:
            TurnTimeout: others took too long.
        """
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def pause(self) -> None:
        """Wait for the end of what is being written; nobody begins until ``resume``.

        Raises:
            TurnTimeout: others took too long.
        """
        entry = _Entry()
        self._wait(entry)
        with self._mutex:
            self._waiting.remove(entry)

    def resume(self) -> None:
        """Give the turn to whoever has waited longest."""
        with self._mutex:
            if self._waiting:
                self._waiting[0].call()
            else:
                self._is_busy = False

    def _wait(self, entry: _Entry) -> None:
        """Until somebody has done the entry's work, or it is the first and the turn is its own."""
        with self._mutex:
            self._waiting.append(entry)
            if not self._is_busy:
                self._is_busy = True
                return
        if entry.wait(self._patience):
            return
        with self._mutex:
            if entry in self._waiting and not entry.is_called:
                self._waiting.remove(entry)
                raise TurnTimeout
        # Its work is being done, or it was called in the last moment.
        entry.wait()

    def _lead(self) -> None:
        """Do the work of all that wait before the next who wants to be alone."""
        group: list[_Entry] = []
        with self._mutex:
            while self._waiting and self._waiting[0].work and len(group) < MOST:
                group.append(self._waiting.popleft())
        try:
            self._commit(group)
        finally:
            self.resume()
            # The first is this thread's own.
            for entry in group[1:]:
                entry.call()

    def _commit(self, group: list[_Entry]) -> None:
        try:
            with self._connected() as driver:
                _run_together(driver, group)
        except BaseException as error:  # noqa: BLE001 - raised in each thread whose work it was
            for entry in group:
                if not entry.is_done:
                    entry.error, entry.is_done = error, True


def _run_together(driver: sqlite3.Connection, group: list[_Entry]) -> None:
    take_write_lock(driver)
    try:
        results = [entry.work(driver) for entry in group if entry.work]
        driver.execute("COMMIT")
    except Exception:
        # SQLite may have done so by itself.
        if driver.in_transaction:
            driver.execute("ROLLBACK")
        if len(group) == 1:
            raise
        for entry in group:
            _run_alone(driver, entry)
    else:
        for entry, result in zip(group, results, strict=True):
            entry.result, entry.is_done = result, True


def _run_alone(driver: sqlite3.Connection, entry: _Entry) -> None:
    try:
        _run_together(driver, [entry])
    except Exception as error:  # noqa: BLE001 - raised in the thread whose work it was
        entry.error, entry.is_done = error, True
