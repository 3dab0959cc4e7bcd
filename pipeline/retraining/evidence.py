"""What is known of queries: how often each was asked, and what was right for it.

Hours of Online Data and files of other sources are merged into the same counts, day by day, so that
the memory follows the number of different queries and not that of all that was asked.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from pipeline.errors import JustLensError
from pipeline.retraining.cleaning import Asked, junk_reason, normalised, without_bots

ImageKey = tuple[str, int]

# A resolution below it is the champion's guess, which would only teach it to go on guessing.
LEAST_CONFIDENCE = 0.7
ROWS_AT_ONCE = 10_000


class UnreadableSource(JustLensError):
    """A file of queries or triplets is absent or not in its form; the message names the line."""


@dataclass
class Evidence:
    """Queries, normalised, with their counts.

    Attributes:
        asked: how often.
        meant: (query, category), how often it was surely resolved so.
        chosen: (query, category), clicks on pictures shown for that category.
        clicked: (query, (docid, product_id)), clicks on that picture.
        triplets: (anchor, positive, negative), how often; the negative may be empty.
        read: rows by kind. dropped: rows by reason.
    """

    asked: Counter[str] = field(default_factory=Counter)
    meant: Counter[tuple[str, str]] = field(default_factory=Counter)
    chosen: Counter[tuple[str, str]] = field(default_factory=Counter)
    clicked: Counter[tuple[str, ImageKey]] = field(default_factory=Counter)
    triplets: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def add_day(self, hours: Iterable[pa.Table]) -> None:
        """Take in the hours of one day, as ``roll`` writes them."""
        asked, clicks = [], []
        for row in _rows(hours):
            if row["kind"] == "query":
                asked.append(_asked(row))
            else:
                clicks.append((row["query"], row["category"], (row["docid"], row["product_id"])))
        self.read["queries"] += len(asked)
        of_people, dropped = without_bots(sorted(asked, key=lambda one: one.at))
        self.dropped += dropped
        for one in of_people:
            sure = one.how != "none" and one.confidence >= LEAST_CONFIDENCE
            self._ask(one.query, one.category if sure else "")
        for query, category, key in clicks:
            self._click(query, category, key, 1)

    def add_chosen(self, path: Path) -> None:
        """Take in a file of ``justlens report --queries``.

        A query that was clicked on counts as asked as often; one that was not, once: there the file
        counts pictures. Do not give a file of days whose hours are read as well.

        Raises:
            UnreadableSource.
        """
        for number, row in _lines(path):
            query, count = _text(path, number, row, "query"), row.get("count", 1)
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                _refuse(path, number, f"count is {count!r}, not a number above 0")
            docid, product_id = row.get("docid") or "", row.get("product_id")
            if not docid:
                self._ask(query)
                continue
            if not isinstance(docid, str) or not isinstance(product_id, int):
                _refuse(path, number, f"{docid!r}, {product_id!r} name no picture")
            self._ask(query, times=count)
            category = row.get("category") or ""
            self._click(query, str(category), (docid, product_id), count)

    def add_triplets(self, path: Path) -> None:
        """Take in triplets: ``anchor``, ``positive`` and, if there is one, ``negative``.

        Raises:
            UnreadableSource.
        """
        for number, row in _lines(path):
            anchor = normalised(_text(path, number, row, "anchor"))
            positive = spaced(_text(path, number, row, "positive"))
            negative = spaced(_text(path, number, row, "negative")) if row.get("negative") else ""
            self.read["triplets"] += 1
            if normalised(positive) in (anchor, normalised(negative)):
                self.dropped["says the same"] += 1
            else:
                self.triplets[anchor, positive, negative] += 1

    def _ask(self, query: str, category: str = "", times: int = 1) -> None:
        text = self._clean(query, times)
        if text:
            self.asked[text] += times
            if category:
                self.meant[text, category] += times

    def _click(self, query: str, category: str, key: ImageKey, times: int) -> None:
        self.read["clicks"] += times
        text = self._clean(query, times)
        if text:
            # A click says that the query was asked, where capture was off.
            self.asked.setdefault(text, times)
            self.clicked[text, key] += times
            if category:
                self.chosen[text, category] += times

    def _clean(self, query: str, times: int) -> str:
        text = normalised(query)
        reason = junk_reason(text)
        if reason:
            self.dropped[reason] += times
        return "" if reason else text


def spaced(text: str) -> str:
    """A text that is shown, as it is but for its white space."""
    return " ".join(text.split())


def add_file(evidence: Evidence, path: Path) -> None:
    """Take in a file by what its first line has: triplets, or queries and what was chosen.

    Raises:
        UnreadableSource: neither, or a line is not like the first.
    """
    number, first = next(_lines(path), (1, {}))
    if "anchor" in first:
        evidence.add_triplets(path)
    elif "query" in first:
        evidence.add_chosen(path)
    else:
        _refuse(path, number, "neither a query nor an anchor")


def _rows(hours: Iterable[pa.Table]) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries take much room: they are made and left a batch at a time."""
    for hour in hours:
        for batch in hour.to_batches(max_chunksize=ROWS_AT_ONCE):
            yield from batch.to_pylist()


def _asked(row: dict[str, Any]) -> Asked:
    return Asked(
        row["query"],
        row["category"],
        row["how"],
        row["confidence"] or 0.0,
        row["visitor"],
        row["at"].timestamp(),
    )


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _object(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableSource(f"{path} cannot be read: {error}") from error


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        _refuse(path, number, f"not JSON: {error}")
    if not isinstance(row, dict):
        _refuse(path, number, "not an object")
    return row


def _text(path: Path, number: int, row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        _refuse(path, number, f"{name} is {value!r}, not a text")
    return value


def _refuse(path: Path, number: int, reason: str) -> NoReturn:
    raise UnreadableSource(f"{path}, line {number}: {reason}")
