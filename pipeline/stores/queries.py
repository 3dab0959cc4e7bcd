"""Queries as they were typed, until their hour is in the object store.

They lie beside the events: the same address, on SQLite the same file.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Double,
    Index,
    Insert,
    MetaData,
    String,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
)
from sqlalchemy.dialects import sqlite

from pipeline.queries import LONGEST_QUERY
from pipeline.retraining.capture import TypedQuery
from pipeline.stores.database import EVENTS_SETTING, SqlStore

# Short transactions let other writers by.
FORGOTTEN_AT_ONCE = 1000

QUERY_TABLES = MetaData()

# On a server it is made by the migrations of the relational store.
_queries = Table(
    "queries",
    QUERY_TABLES,
    Column("query_id", String(64), primary_key=True),
    Column("query", String(LONGEST_QUERY), nullable=False),
    Column("category", String(LONGEST_QUERY), nullable=False),
    Column("how", String(16), nullable=False),
    Column("confidence", Double, nullable=False),
    Column("visitor", String(16), nullable=False),
    Column("asked_at", Double, nullable=False),
    # When the row was written: an hour by this clock gets no more rows when it is over.
    Column("recorded_at", Double, nullable=False),
    Index("queries_as_recorded", "recorded_at"),
)


class Queries(SqlStore):
    """Keeps queries for some hours. All methods may raise ``StoreUnavailable``."""

    def __init__(self, url: str) -> None:
        super().__init__(url, QUERY_TABLES, EVENTS_SETTING)

    def save(self, queries: Sequence[TypedQuery]) -> int:
        """How many were new; all are on the disk when it returns."""
        return self._database.write(_insert, queries) if queries else 0

    def first(self, since: float) -> float | None:
        """When the first from a time on was recorded (Unix time); none: there are none."""
        recorded_at = _queries.c.recorded_at
        query = select(recorded_at).where(recorded_at >= since).order_by(recorded_at).limit(1)
        with self._database.reading() as connection:
            return connection.execute(query).scalar()

    def recorded(self, since: float, until: float) -> Iterator[TypedQuery]:
        """Those recorded from a time on and before another, in that order, read in pages."""
        recorded_at, query_id = _queries.c.recorded_at, _queries.c.query_id
        after: ColumnElement[float] = bindparam("recorded_at")
        behind: ColumnElement[str] = bindparam("query_id")
        others = [column for column in _queries.c if column.name not in ("recorded_at", "query_id")]
        query = (
            select(recorded_at, query_id, *others)
            .where(or_(recorded_at > after, and_(recorded_at == after, query_id > behind)))
            .where(recorded_at >= since, recorded_at < until)
            .order_by(recorded_at, query_id)
        )
        for row in self._database.walk(query, {"recorded_at": since, "query_id": ""}):
            yield TypedQuery(*tuple(row)[1:])

    def forget(self, before: float) -> int:
        """Remove what was recorded before a time; how many queries those were."""
        count = 0
        while forgotten := self._database.write(_forget, before):
            count += forgotten
        return count


def _insert(connection: Connection, queries: Sequence[TypedQuery]) -> int:
    # Of this try of the transaction: one that is tried again may end in another hour.
    now = time.time()
    rows: list[dict[str, Any]] = [{**asdict(one), "recorded_at": now} for one in queries]
    statement: Insert = sqlite.insert(_queries).on_conflict_do_nothing()
    if connection.dialect.name != "sqlite":
        # IGNORE would also let pass, cut off, what is too long: a query's fields are bounded.
        statement = insert(_queries).prefix_with("IGNORE")
    counting = {"preserve_rowcount": True}
    return connection.execute(statement, rows, execution_options=counting).rowcount


def _forget(connection: Connection, before: float) -> int:
    old = _queries.c.recorded_at < before
    ids = connection.execute(select(_queries.c.query_id).where(old).limit(FORGOTTEN_AT_ONCE))
    some = ids.scalars().all()
    connection.execute(delete(_queries).where(_queries.c.query_id.in_(some)))
    return len(some)
