"""What a challenger answered in the champion's shadow, as it was compared.

One implementation on SQLAlchemy serves SQLite and, by its address, MySQL and MariaDB. It lies
beside impressions and clicks, with connections of its own.
"""

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    func,
    select,
)
from sqlalchemy.dialects import mysql, sqlite

from pipeline.queries import LONGEST_QUERY
from pipeline.retraining.comparison import Comparison, Likeness
from pipeline.stores.recorded import RecordedStore

LONGEST_IDENTITY = 128
# The newest so many say what the older ones would.
MOST_READ = 5000
SHADOW_TABLES = MetaData()

# On a server it is made by the migrations of the relational store.
_shadow = Table(
    "shadow",
    SHADOW_TABLES,
    Column("comparison_id", String(32), primary_key=True),
    Column("champion", String(LONGEST_IDENTITY), nullable=False),
    Column("challenger", String(LONGEST_IDENTITY), nullable=False),
    Column("question", String(32), nullable=False),
    Column("query", String(LONGEST_QUERY), nullable=False),
    Column("champion_seconds", Double, nullable=False),
    Column("challenger_seconds", Double, nullable=False),
    Column("businesses", Integer, nullable=False),
    Column("same_top", Integer, nullable=False),
    Column("overlap", Double, nullable=False),
    Column("champion_scores", Text, nullable=False),
    Column("challenger_scores", Text, nullable=False),
    Column("error", String(64), nullable=False),
    Column("is_replay", Boolean, nullable=False),
    Column("recorded_at", Double, nullable=False),
    Index("shadow_of_challenger", "challenger", "recorded_at"),
    Index("shadow_by_time", "recorded_at"),
)


@dataclass(frozen=True)
class Compared:
    """A champion and a challenger that were compared.

    Attributes:
        count: how many comparisons there are.
        first_at: Unix time of the first of them.
        last_at: of the last.
    """

    champion: str
    challenger: str
    count: int
    first_at: float
    last_at: float


class ShadowRecords(RecordedStore):
    """Keeps comparisons. All methods may raise ``StoreUnavailable``."""

    def __init__(self, url: str) -> None:
        super().__init__(url, _shadow)

    def save(self, comparisons: Sequence[Comparison]) -> None:
        """Keep them; that of a replay takes the place of an earlier one of the same question."""
        if comparisons:
            self._database.write(_save, {_id(one): _row(one) for one in comparisons})

    def comparisons(
        self, champion: str, challenger: str, since: float = 0, limit: int = MOST_READ
    ) -> list[Comparison]:
        """Those of two models that were recorded from a time on, newest first."""
        query = (
            select(_shadow)
            .where(
                _shadow.c.challenger == challenger,
                _shadow.c.champion == champion,
                _shadow.c.recorded_at >= since,
            )
            .order_by(_shadow.c.recorded_at.desc())
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [_comparison(row) for row in connection.execute(query)]

    def pairs(self) -> list[Compared]:
        """Which models there are comparisons of, those last compared first."""
        at = _shadow.c.recorded_at
        models = (_shadow.c.champion, _shadow.c.challenger)
        query = select(*models, func.count(), func.min(at), func.max(at)).group_by(*models)
        with self._database.reading() as connection:
            found = [Compared(*row) for row in connection.execute(query)]
        return sorted(found, key=lambda one: one.last_at, reverse=True)


def _save(connection: Connection, rows: dict[str, dict[str, Any]]) -> None:
    # In one order, so that transactions that hold the same ids do not wait for each other.
    ordered = [{"comparison_id": key, **rows[key]} for key in sorted(rows)]
    if connection.dialect.name == "sqlite":
        new = sqlite.insert(_shadow)
        connection.execute(new.on_conflict_do_update(set_=dict(new.excluded.items())), ordered)
        return
    newer = mysql.insert(_shadow)
    connection.execute(newer.on_duplicate_key_update(dict(newer.inserted.items())), ordered)


def _id(one: Comparison) -> str:
    if not one.is_replay:
        return uuid.uuid4().hex
    same = "\0".join((one.champion, one.challenger, one.question))
    return hashlib.blake2b(same.encode(), digest_size=16).hexdigest()


def _row(one: Comparison) -> dict[str, Any]:
    row = asdict(one)
    like = row.pop("likeness") or asdict(Likeness())
    scores = {name: json.dumps(like[name]) for name in ("champion_scores", "challenger_scores")}
    return {**row, **like, **scores, "error": one.error[:64]}


def _comparison(row: Row[Any]) -> Comparison:
    fields = dict(row._mapping)
    del fields["comparison_id"]
    like = {name: fields.pop(name) for name in Likeness.__annotations__}
    for name in ("champion_scores", "challenger_scores"):
        like[name] = tuple(json.loads(like[name]))
    return Comparison(**fields, likeness=None if fields["error"] else Likeness(**like))
