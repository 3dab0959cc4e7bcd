"""Impressions and clicks, as they came in.

One implementation on SQLAlchemy serves SQLite and, by its address, MySQL and MariaDB. It has
connections of its own, and on SQLite a file of its own: a page does not wait for events.
"""

import time
from collections.abc import Iterator, Sequence

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Subquery,
    Table,
    case,
    func,
    select,
)

from pipeline.feedback import AskedFor, Chosen, Click, Event, Shown
from pipeline.queries import LONGEST_QUERY
from pipeline.stores.recorded import RecordedStore

EVENT_TABLES = MetaData()

# On a server it is made by the migrations of the relational store.
_events = Table(
    "events",
    EVENT_TABLES,
    Column("event_id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("docid", String(64), nullable=False),
    Column("product_id", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("slot", String(16), nullable=False),
    Column("source", String(16), nullable=False),
    Column("query", String(LONGEST_QUERY), nullable=False),
    Column("category", String(LONGEST_QUERY), nullable=False),
    Column("occurred_at", Double, nullable=False),
    # By our clock: whoever reads what has come since the last time misses nothing that is late.
    Column("recorded_at", Double, nullable=False),
    Index("events_by_time", "occurred_at"),
    Index("events_of_business", "docid", "occurred_at"),
    Index("events_as_recorded", "recorded_at"),
)

_IMPRESSIONS = func.sum(case((_events.c.kind == "impression", 1), else_=0))
_CLICKS = func.sum(case((_events.c.kind == "click", 1), else_=0))


class Events(RecordedStore):
    """Keeps events, and counts them. All methods may raise ``StoreUnavailable``.

    Counts read the events of their period and no others, by an index. A picture does not count as
    clicked on more often than it was shown at that place for that query.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, _events)

    def save(self, events: Sequence[Event]) -> int:
        """How many were new; all are on the disk when it returns.

        One whose id is known already, or comes twice, stays as it was first.
        """
        now = time.time()
        rows = {
            event.event_id: {
                **event.model_dump(),
                "occurred_at": min(event.occurred_at, now),
                "recorded_at": now,
            }
            for event in reversed(events)
        }
        # In one order, so that transactions that hold the same ids do not wait for each other.
        ordered = [rows[key] for key in sorted(rows)]
        return self._database.write(self._add_new, ordered) if rows else 0

    def shown(self, since: float, docid: str = "") -> list[Shown]:
        """Counts by place and source of what happened since a time, of all or of one business."""
        pictures = _pictures(_happened(since, docid))
        places = (pictures.c.slot, pictures.c.position, pictures.c.source)
        query = select(*places, *_sums(pictures)).group_by(*places)
        with self._database.reading() as connection:
            return [Shown(*row[:3], *map(int, row[3:])) for row in connection.execute(query)]

    def asked_for(
        self, since: float, docid: str = "", *, clicked: bool, limit: int = 20
    ) -> list[AskedFor]:
        """Queries since a time: with clicks, the most clicked first, or without, the most shown."""
        pictures = _pictures([*_happened(since, docid), _events.c.query != ""])
        words = (pictures.c.query, pictures.c.category)
        impressions, clicks = _sums(pictures)
        query = (
            select(*words, impressions, clicks)
            .group_by(*words)
            .having(clicks > 0 if clicked else clicks == 0)
            .order_by((clicks if clicked else impressions).desc(), *words)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [AskedFor(*row[:2], *map(int, row[2:])) for row in connection.execute(query)]

    def queries(self, since: float, until: float | None = None) -> list[Chosen]:
        """What was typed, what it was taken to mean, and what was clicked on for it.

        Of the events that were recorded from ``since`` on and before ``until``. Transactions end
        after their events' time: to miss none, let ``until`` be a minute ago, and the next
        ``since``.
        """
        recorded = [_events.c.recorded_at >= since, _events.c.query != ""]
        if until is not None:
            recorded.append(_events.c.recorded_at < until)
        words = (_events.c.query, _events.c.category)
        picture = (_events.c.docid, _events.c.product_id)
        clicked = (
            select(*words, *picture, func.count())
            .where(*recorded, _events.c.kind == "click")
            .group_by(*words, *picture)
            .order_by(*words, func.count().desc(), *picture)
        )
        in_vain = (
            select(*words, _IMPRESSIONS)
            .where(*recorded)
            .group_by(*words)
            .having(_CLICKS == 0)
            .order_by(*words)
        )
        with self._database.reading() as connection:
            chosen = [Chosen(*row) for row in connection.execute(clicked)]
            return chosen + [
                Chosen(query, category, "", None, int(count))
                for query, category, count in connection.execute(in_vain)
            ]

    def first_click(self, since: float) -> float | None:
        """When the first click for a query from a time on was recorded (Unix time), if any was."""
        recorded_at = _events.c.recorded_at
        query = (
            select(recorded_at)
            .where(recorded_at >= since, _events.c.kind == "click", _events.c.query != "")
            .order_by(recorded_at)
            .limit(1)
        )
        with self._database.reading() as connection:
            return connection.execute(query).scalar()

    def clicks(self, since: float, until: float) -> Iterator[Click]:
        """Clicks for queries, recorded from a time on and before another, in that order, read in
        pages.
        """
        columns = [_events.c[name] for name in Click._fields]
        for_query = (_events.c.kind == "click", _events.c.query != "")
        for row in self._recorded(since, until, columns, *for_query):
            yield Click(*row)


def _happened(since: float, docid: str) -> list[ColumnElement[bool]]:
    of_business = [_events.c.docid == docid] if docid else []
    return [*of_business, _events.c.occurred_at >= since]


def _pictures(period: Sequence[ColumnElement[bool]]) -> Subquery:
    """Each picture at each place for each query, with its impressions and the clicks that count."""
    shown = (
        *(_events.c.docid, _events.c.product_id, _events.c.slot, _events.c.position),
        *(_events.c.source, _events.c.query, _events.c.category),
    )
    clicks = case((_CLICKS < _IMPRESSIONS, _CLICKS), else_=_IMPRESSIONS)
    counted = select(*shown, _IMPRESSIONS.label("impressions"), clicks.label("clicks"))
    return counted.where(*period).group_by(*shown).subquery()


def _sums(pictures: Subquery) -> tuple[ColumnElement[int], ColumnElement[int]]:
    return func.sum(pictures.c.impressions), func.sum(pictures.c.clicks)
