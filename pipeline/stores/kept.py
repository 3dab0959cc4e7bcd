"""Connections of the driver that are kept beside SQLAlchemy's pool, for what every image asks.

The pool asks a server whether the connection is still there, commits what was read and rolls back
once more; a short read takes four round trips. On SQLite, whose connections each have a cache of
their own, it hands out the one that was used longest ago. Here it is the last one.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

Result = TypeVar("Result")


class Kept:
    """Connections outside of any transaction, each for one user at a time.

    Args:
        connect: makes one.
        most: how many wait for the next user.
        longest: seconds that one may have waited.
    """

    def __init__(self, connect: Callable[[], Any], most: int, longest: float) -> None:
        self._connect = connect
        self._most = most
        self._longest = longest
        self._idle: deque[tuple[float, Any]] = deque()

    def one(self) -> "_InUse":
        """A connection for the time of a block; it is closed if the block fails."""
        return _InUse(self)

    def take(self) -> Any:
        """A connection, which nobody else has until it is put back."""
        return self._last() or self._connect()

    def put_back(self, driver: Any) -> None:
        """Keep it for the next user."""
        if len(self._idle) < self._most:
            self._idle.append((time.monotonic(), driver))
        else:
            close(driver)

    def close(self) -> None:
        """Close those that nobody uses."""
        with suppress(IndexError):
            while True:
                close(self._idle.pop()[1])

    def _last(self) -> Any | None:
        try:
            since, driver = self._idle.pop()
        except IndexError:
            return None
        if time.monotonic() - since < self._longest:
            return driver
        close(driver)
        # All others have waited longer.
        self.close()
        return None


class _InUse:
    # Forty times an image: a generator of contextlib would cost several times as much.
    __slots__ = ("_driver", "_kept")

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def __enter__(self) -> Any:
        self._driver = self._kept.take()
        return self._driver

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._kept.put_back(self._driver)
        else:
            close(self._driver)


class ShortTransactions:
    """Transactions of one statement each, in the driver's words.

    Args:
        engine: returns the engine whose driver it is.
        kept: connections for it, on which no transaction begins by itself.
    """

    def __init__(self, engine: Callable[[], Engine], kept: Kept) -> None:
        self._engine = engine
        self._kept = kept

    def read(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows as the driver gives them.

        Raises:
            DBAPIError: what the driver raised.
        """
        return self._run(statement, parameters, _rows)

    def change(self, statement: str, parameters: Mapping[str, Any]) -> int:
        """How many rows a statement changed, of those that may as well run twice.

        Raises:
            DBAPIError: what the driver raised.
        """
        return self._run(statement, parameters, _count)

    def _run(
        self, statement: str, parameters: Mapping[str, Any], result: Callable[[Any], Result]
    ) -> Result:
        try:
            return self._try(statement, parameters, result)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        # The server has closed it meanwhile, and the others as well.
        self._kept.close()
        return self._try(statement, parameters, result)

    def _try(
        self, statement: str, parameters: Mapping[str, Any], result: Callable[[Any], Result]
    ) -> Result:
        driver = None
        try:
            with self._kept.one() as driver:
                cursor = driver.cursor()
                cursor.execute(statement, parameters)
                found = result(cursor)
                cursor.close()
                return found
        except self._errors as error:
            # Of connecting as well: SQLAlchemy leaves what that raises as it is.
            dialect = self._engine().dialect
            raise DBAPIError.instance(
                statement,
                parameters,
                error,
                self._errors,
                connection_invalidated=dialect.is_disconnect(error, driver, None),
                dialect=dialect,
            ) from error

    @property
    def _errors(self) -> Any:
        return self._engine().dialect.loaded_dbapi.Error


def _rows(cursor: Any) -> list[tuple[Any, ...]]:
    return list(cursor.fetchall())


def _count(cursor: Any) -> int:
    count: int = cursor.rowcount
    return count


def close(driver: Any) -> None:
    """Close a connection, also one that is lost and cannot say goodbye."""
    with suppress(Exception):
        driver.close()
