"""Online Data: each hour's queries and clicks as one Parquet object, and no longer than allowed.

An hour is rolled when it has been over for some minutes, so that its last transactions have ended.
It is written before it is noted as rolled, and its queries are removed from the database last: a
roll that is cut off is done again, from the same rows to the same object.
"""

import io
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.feedback import Click
from pipeline.retraining.capture import DAY, TypedQuery
from pipeline.stores import Stores

FOLDER = "online/queries/"
NAME = f"{FOLDER}date=%Y-%m-%d/hour=%H.parquet"
KEY = re.compile(rf"{FOLDER}date=\d{{4}}-\d\d-\d\d/hour=\d\d\.parquet")
HOUR = 3600
# Longer than a transaction takes, and than the clocks of machines differ.
SETTLING_SECONDS = 300
# Rows that are held as such; the hour itself is held compressed.
ROWS_AT_ONCE = 10_000
# The named value of the document store: every hour before this Unix time has been rolled.
ROLLED_UNTIL = "queries_rolled_until"

# A ``query`` has what it was taken to mean and whose it was; a ``click``, the picture.
SCHEMA = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("query", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("how", pa.string(), nullable=False),
        pa.field("confidence", pa.float32()),
        pa.field("visitor", pa.string(), nullable=False),
        pa.field("docid", pa.string(), nullable=False),
        pa.field("product_id", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Rolled:
    """What came of a roll.

    Attributes:
        hours: that had anything in them.
        rows: queries and clicks in these.
        removed: hours that had been kept long enough.
    """

    hours: int
    rows: int
    removed: int


def key_of(hour: float) -> str:
    """The object of the hour that begins at a Unix time."""
    return datetime.fromtimestamp(hour, UTC).strftime(NAME)


def kept_hours(stores: Stores) -> Iterator[tuple[float, str]]:
    """The hours in the object store, in their order: when each begins (Unix time), and its key."""
    for key in stores.objects.keys(FOLDER):
        if KEY.fullmatch(key):
            yield datetime.strptime(f"{key} +0000", f"{NAME} %z").timestamp(), key


def roll(
    stores: Stores,
    *,
    days: int,
    now: float | None = None,
    step: Callable[[float], None] = lambda hour: None,
) -> Rolled:
    """Write every hour that is over and not rolled yet; remove what has been kept long enough.

    Args:
        days: that queries are kept, wherever they are; 0: for good.
        now: Unix time.
        step: is told the beginning of each hour that was written.

    Raises:
        StoreUnavailable: the same call goes on where this one ended.
    """
    now = time.time() if now is None else now
    kept_since = now - days * DAY if days else 0.0
    since = max(kept_since, stores.documents.value(ROLLED_UNTIL) or 0.0)
    until = _floor(now - SETTLING_SECONDS)
    stores.queries.forget(since)
    hours = rows = 0
    for hour in _hours(stores, since, until):
        content, count = _parquet(_rows(stores, hour))
        stores.objects.put(key_of(hour), content)
        hours, rows = hours + 1, rows + count
        stores.documents.save_value(ROLLED_UNTIL, hour + HOUR)
        stores.queries.forget(hour + HOUR)
        step(hour)
    if until > since:
        stores.documents.save_value(ROLLED_UNTIL, until)
    return Rolled(hours, rows, _remove(stores, kept_since))


def read_hour(stores: Stores, key: str) -> pa.Table:
    """The rows of an hour; see ``SCHEMA``.

    Raises:
        ObjectMissing: it has been removed.
    """
    return pq.read_table(io.BytesIO(stores.objects.get(key)), schema=SCHEMA)


def _hours(stores: Stores, since: float, until: float) -> Iterator[int]:
    """The beginnings of the hours from a time on and before another that have anything in them."""
    while True:
        first = [stores.queries.first(since), stores.events.first_click(since)]
        hour = _floor(min((at for at in first if at is not None), default=until))
        if hour >= until:
            return
        yield hour
        since = hour + HOUR


def _rows(stores: Stores, hour: float) -> Iterator[dict[str, Any]]:
    queries = map(_of_query, stores.queries.recorded(hour, hour + HOUR))
    return chain(queries, map(_of_click, stores.events.clicks(hour, hour + HOUR)))


def _parquet(rows: Iterable[dict[str, Any]]) -> tuple[bytes, int]:
    """The rows as Parquet, and how many they are."""
    target, count, left = io.BytesIO(), 0, iter(rows)
    with pq.ParquetWriter(target, SCHEMA, compression="zstd") as writer:
        while some := list(islice(left, ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(some, SCHEMA))
            count += len(some)
    return target.getvalue(), count


def _of_query(query: TypedQuery) -> dict[str, Any]:
    return {
        "kind": "query",
        "at": _milliseconds(query.asked_at),
        "query": query.query,
        "category": query.category,
        "how": query.how,
        "confidence": query.confidence,
        "visitor": query.visitor,
        "docid": "",
        "product_id": None,
    }


def _of_click(click: Click) -> dict[str, Any]:
    return {
        "kind": "click",
        "at": _milliseconds(click.occurred_at),
        "query": click.query,
        "category": click.category,
        "how": "",
        "confidence": None,
        "visitor": "",
        "docid": click.docid,
        "product_id": click.product_id,
    }


def _remove(stores: Stores, kept_since: float) -> int:
    count = 0
    for hour, key in kept_hours(stores):
        if hour + HOUR > kept_since:
            break
        stores.objects.delete(key)
        count += 1
    return count


def _floor(at: float) -> int:
    return int(at // HOUR) * HOUR


def _milliseconds(at: float) -> int:
    return int(at * 1000)
