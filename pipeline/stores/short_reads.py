"""Short reads: one statement on a server, in one round trip.

From SQLAlchemy's pool a read takes four: the connection is asked whether it is still there, the
transaction is committed, and rolled back once more when the connection goes back. Here the driver
reads on connections that begin no transactions, and one that turns out to be dead is replaced.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

# Firewalls drop what was idle for long without a word to either end.
LONGEST_IDLE_SECONDS = 60.0


class ShortReads:
    """Connections to a server, each for one reader at a time.

    Args:
        engine: returns the engine whose pool gives new ones, known to be alive.
        most: how many are kept for later.
    """

    def __init__(self, engine: Callable[[], Engine], most: int) -> None:
        self._engine = engine
        self._most = most
        self._idle: deque[tuple[float, Any]] = deque()

    def __call__(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of a statement in the driver's words, as the driver gives them.

        Raises:
            DBAPIError: what the driver raised.
        """
        if kept := self._kept():
            try:
                return self._read(kept, statement, parameters)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
        return self._read(self._new(), statement, parameters)

    def close(self) -> None:
        """Close what is not in use."""
        while self._idle:
            _close(self._idle.pop()[1])

    def _kept(self) -> Any | None:
        """The connection that was used last; the fewer are needed, the fewer are kept."""
        with suppress(IndexError):
            since, driver = self._idle.pop()
            if time.monotonic() - since < LONGEST_IDLE_SECONDS:
                return driver
            # The others have been idle for longer.
            _close(driver)
            self.close()
        return None

    def _new(self) -> Any:
        connection = self._engine().raw_connection()
        driver: Any = connection.driver_connection
        connection.detach()
        driver.autocommit(True)
        return driver

    def _read(
        self, driver: Any, statement: str, parameters: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        dialect = self._engine().dialect
        try:
            with driver.cursor() as cursor:
                cursor.execute(statement, parameters)
                rows = list(cursor.fetchall())
        except dialect.loaded_dbapi.Error as error:
            is_lost = dialect.is_disconnect(error, driver, None)
            _close(driver)
            raise DBAPIError.instance(
                statement,
                parameters,
                error,
                dialect.loaded_dbapi.Error,
                connection_invalidated=is_lost,
                dialect=dialect,
            ) from error
        if len(self._idle) < self._most:
            self._idle.append((time.monotonic(), driver))
        else:
            _close(driver)
        return rows


def _close(driver: Any) -> None:
    # One that is lost cannot say goodbye.
    with suppress(Exception):
        driver.close()
