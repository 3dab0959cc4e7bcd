"""Group commit: what several threads of a process write at the same time is committed at once.

An embedded database has one writer at a time, and each commit has to reach the disk. A thread that
waits for its turn joins the transaction of the one before it, behind a savepoint of its own, and
whoever has nobody waiting behind commits for all. Nobody goes on before that commit, so that what
was written is on the disk as if each had committed by itself; what one of them fails to do is
undone for it alone.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from sqlalchemy import Connection

from pipeline.stores.sqlite import driver_of

# Members of a group, the first of which waits for the last.
MOST = 32


class TurnTimeout(Exception):
    """Other threads of the process have kept the turn for too long."""


class Turn:
    """A lock that goes to whoever has waited longest; its holder can ask whether anybody does."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Lock] = deque()

    def take(self, timeout: float) -> bool:
        """Whether it was had within ``timeout`` seconds."""
        with self._mutex:
            if not self._is_taken:
                self._is_taken = True
                return True
            handed = threading.Lock()
            handed.acquire()
            self._waiting.append(handed)
        if handed.acquire(timeout=timeout):
            return True
        with self._mutex:
            if handed in self._waiting:
                self._waiting.remove(handed)
                return False
        # It was handed over in the last moment.
        return True

    def hand_on(self) -> bool:
        """Give it to the next; False where nobody waits, and the caller keeps it."""
        with self._mutex:
            if not self._waiting:
                return False
            self._waiting.popleft().release()
            return True

    def give_back(self) -> None:
        """Give it to the next, if there is one."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False


class _Group:
    """A transaction that is open, and what becomes of it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.transaction = connection.begin()
        # Not by SQLAlchemy's savepoints, which take ten times as long.
        self.driver = driver_of(connection)
        self.size = 0
        self.end: Future[None] = Future()


class GroupCommit:
    """The write transactions of a process on one database file.

    Args:
        connect: gives a connection whose transactions take the file's write lock as they begin.
        patience: seconds that a thread waits for the others.
    """

    def __init__(self, connect: Callable[[], Connection], patience: float) -> None:
        self._connect = connect
        self._patience = patience
        self._turn = Turn()
        self._group: _Group | None = None

    @contextmanager
    def member(self) -> Iterator[Connection]:
        """A connection to write on, alone; what was written is on the disk at the end.

        Raises:
            TurnTimeout: others took too long.
            sqlalchemy.exc.DBAPIError: the file stays locked by another process, or the commit
                failed, which undoes the writes of all who share it.
        """
        if not self._turn.take(self._patience):
            raise TurnTimeout
        group = self._joined()
        try:
            group.driver.execute("SAVEPOINT member")
            yield group.connection
            group.driver.execute("RELEASE member")
        except BaseException as error:
            self._undo(group, error)
            raise
        self._leave(group)
        group.end.result()

    def pause(self) -> bool:
        """Let nobody begin until ``resume``; False where others took too long."""
        if not self._turn.take(self._patience):
            return False
        if self._group:
            self._commit(self._group)
        return True

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._turn.give_back()

    def _joined(self) -> _Group:
        try:
            if self._group is None:
                self._group = _begun(self._connect())
        except BaseException:
            self._turn.give_back()
            raise
        self._group.size += 1
        return self._group

    def _leave(self, group: _Group) -> None:
        if group.size < MOST and self._turn.hand_on():
            return
        self._commit(group)
        self._turn.give_back()

    def _undo(self, group: _Group, error: BaseException) -> None:
        """Take back what the member wrote; where SQLite has rolled back all, all have failed."""
        try:
            group.driver.execute("ROLLBACK TO member")
            group.driver.execute("RELEASE member")
        except Exception:  # noqa: BLE001 - the error that brought us here says more
            self._end(group, error)
            self._turn.give_back()
        else:
            self._leave(group)

    def _commit(self, group: _Group) -> None:
        try:
            group.transaction.commit()
        except BaseException as error:  # noqa: BLE001 - handed to all whose writes it was
            self._end(group, error)
        else:
            self._end(group)

    def _end(self, group: _Group, error: BaseException | None = None) -> None:
        self._group = None
        try:
            # Rolls back what was not committed.
            group.connection.close()
        finally:
            if error is None:
                group.end.set_result(None)
            else:
                group.end.set_exception(error)


def _begun(connection: Connection) -> _Group:
    try:
        return _Group(connection)
    except BaseException:
        connection.close()
        raise
