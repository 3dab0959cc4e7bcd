"""Queries as they were typed, until their hour is in the object store.

They lie beside the events: the same address, on SQLite the same file.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from sqlalchemy import (
    Column,
    Connection,
    Double,
    Index,
    MetaData,
    String,
    Table,
    select,
)

from pipeline.queries import LONGEST_QUERY
from pipeline.retraining.capture import TypedQuery
from pipeline.stores.recorded import RecordedStore

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


class Queries(RecordedStore):
    """Keeps queries for some hours. All methods may raise ``StoreUnavailable``."""

    def __init__(self, url: str) -> None:
        super().__init__(url, _queries)

    def save(self, queries: Sequence[TypedQuery]) -> int:
        """How many were new; all are on the disk when it returns."""
        return self._database.write(self._insert, queries) if queries else 0

    def first(self, since: float) -> float | None:
        """When the first from a time on was recorded (Unix time); none: there are none."""
        recorded_at = _queries.c.recorded_at
        query = select(recorded_at).where(recorded_at >= since).order_by(recorded_at).limit(1)
        with self._database.reading() as connection:
            return connection.execute(query).scalar()

    def recorded(self, since: float, until: float) -> Iterator[TypedQuery]:
        """Those recorded from a time on and before another, in that order, read in pages."""
        columns = [column for column in _queries.c if column.name != "recorded_at"]
        for row in self._recorded(since, until, columns):
            yield TypedQuery(*row)

    def _insert(self, connection: Connection, queries: Sequence[TypedQuery]) -> int:
        # Of this try of the transaction: one that is tried again may end in another hour.
        now = time.time()
        return self._add_new(connection, [{**asdict(one), "recorded_at": now} for one in queries])
