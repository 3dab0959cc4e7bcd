"""Tables of what comes in all the time, is read in the order in which it came, and goes again."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
)
from sqlalchemy.dialects import sqlite

from pipeline.stores.database import EVENTS_SETTING, SqlStore

# Short transactions let other writers by.
FORGOTTEN_AT_ONCE = 1000


class RecordedStore(SqlStore):
    """A table whose rows say when they were recorded.

    Parameters:
        url: of the database in which the events are.
        table: with a text for its key and the column ``recorded_at`` (Unix time).
    """

    def __init__(self, url: str, table: Table) -> None:
        super().__init__(url, table.metadata, EVENTS_SETTING)
        self._rows = table
        (self._key,) = table.primary_key

    def forget(self, before: float) -> int:
        """Remove what was recorded before a time; how many rows those were."""
        count = 0
        while forgotten := self._database.write(self._forget_some, before):
            count += forgotten
        return count

    def _recorded(
        self,
        since: float,
        until: float,
        columns: Sequence[ColumnElement[Any]],
        *conditions: ColumnElement[bool],
    ) -> Iterator[tuple[Any, ...]]:
        """Columns of the rows recorded from a time on and before another, in that order, read in
        pages.
        """
        key, recorded_at = self._key, self._rows.c.recorded_at
        after: ColumnElement[float] = bindparam("recorded_at")
        behind: ColumnElement[str] = bindparam("key")
        query = (
            select(recorded_at, key, *columns)
            .where(or_(recorded_at > after, and_(recorded_at == after, key > behind)))
            .where(recorded_at >= since, recorded_at < until, *conditions)
            .order_by(recorded_at, key)
        )
        for row in self._database.walk(query, {"recorded_at": since, "key": ""}):
            yield tuple(row)[2:]

    def _add_new(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
        """How many were new; a row whose key is known stays as it was first."""
        statement: Insert = sqlite.insert(self._rows).on_conflict_do_nothing()
        if connection.dialect.name != "sqlite":
            # IGNORE would also let pass, cut off, what is too long: all fields are bounded.
            statement = insert(self._rows).prefix_with("IGNORE")
        counting = {"preserve_rowcount": True}
        return connection.execute(statement, rows, execution_options=counting).rowcount

    def _forget_some(self, connection: Connection, before: float) -> int:
        old = select(self._key).where(self._rows.c.recorded_at < before).limit(FORGOTTEN_AT_ONCE)
        keys = connection.execute(old).scalars().all()
        connection.execute(delete(self._rows).where(self._key.in_(keys)))
        return len(keys)
