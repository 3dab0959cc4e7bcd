"""A catalogue as a CSV file, read row by row from any of them on.

A row that is wrong harms none beside it. Where a quote that nobody closes swallows the lines behind
it, only the line with the quote is wrong, and reading goes on at the next.
"""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from pydantic import ValidationError

from cli.intake import categories_from
from pipeline.backfill import ADDRESSES, Listing, Photo
from pipeline.errors import JustLensError
from pipeline.messages import explain
from pipeline.records import Business

COLUMNS = ("docid", "product_id", "product_url")
NAMES = ("business_name", "name")
# Characters; what is longer is no row, and must not fill the memory.
LONGEST_LINE = 100_000


@dataclass(frozen=True)
class Place:
    """Where a row begins: bytes before it, and the number of its first line."""

    offset: int
    line: int


class Lines:
    """The lines of a text, each with the place where it begins.

    The line ends of all systems are known; a byte that is no UTF-8 becomes a lone surrogate, which
    no valid text holds.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.place = Place(0, 1)
        # How many lines were read since the last ``go``, and where the second of them begins.
        self.read = 0
        self.second = self.place

    def go(self, place: Place) -> None:
        """Read on from there."""
        if place != self.place:
            self._file.seek(place.offset)
        self.place = self.second = place
        self.read = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(LONGEST_LINE):
            size = len(line.encode("utf-8", "surrogateescape"))
            self.place = Place(self.place.offset + size, self.place.line + 1)
            self.read += 1
            if self.read == 1:
                self.second = self.place
            yield line


class CatalogueFile:
    """Photos of a CSV file.

    Parameters
    ----------
    path:
        Columns ``docid``, ``product_id``, ``product_url`` (an address, or a file beside this one),
        and, if known, ``business_name`` and ``categories`` (separated by ``|``).

    Raises
    ------
    JustLensError
        It cannot be read, or has none of these columns.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as lines:
            try:
                self.header = next(csv.reader(lines), [])
            except csv.Error as error:
                raise JustLensError(f"{path}: {error}") from error
            self.begin = lines.place
        names = [name.strip('\ufeff" \t').lower().replace(" ", "_") for name in self.header]
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise JustLensError(f"{path}: the column {missing[0]} is missing")
        self._columns = names
        status = path.stat()
        self.size = status.st_size
        self.changed_at = status.st_mtime_ns

    def photos(self, start: Place | None = None) -> Iterator[Photo]:
        """The photo of each row, ``wrong`` where it is none; its mark is the place of its row.

        Args:
            start: place of the first one; none: of the first row.
        """
        with self._opened() as lines:
            lines.go(start or self.begin)
            while True:
                place = lines.place
                lines.go(place)
                values, wrong = _record(lines)
                if not lines.read:
                    return
                if not wrong and not any(value.strip() for value in values):
                    continue
                photo = self._photo(values, place, wrong)
                if photo.wrong and lines.read > 1:
                    lines.go(lines.second)
                yield photo

    def values(self, place: Place) -> list[str]:
        """What the line that begins there says, taken by itself."""
        with self._opened() as lines:
            lines.go(place)
            return next(csv.reader([next(iter(lines), "").rstrip("\r\n")]), [])

    def _photo(self, values: list[str], place: Place, wrong: str) -> Photo:
        row = {name: value.strip() for name, value in zip(self._columns, values, strict=False)}
        docid, number, source = (row.get(name, "") for name in COLUMNS)
        where = f"{self.path}, line {place.line}"
        try:
            if wrong:
                raise ValueError(wrong)
            if any("\ud800" <= letter <= "\udfff" for value in values for letter in value):
                raise ValueError("is not UTF-8")
            if not number.isdecimal():
                raise ValueError("product_id: not a number")
            if not docid:
                raise ValueError("docid: is empty")
            if not source:
                raise ValueError("product_url: is empty")
            listing = self._listing(docid, row)
        except ValidationError as error:
            return Photo(docid, 0, where, mark=place, wrong=explain(error))
        except (ValueError, JustLensError) as error:
            return Photo(docid, 0, where, mark=place, wrong=str(error))
        if not source.startswith(ADDRESSES):
            source = str(self.path.parent / source)
        return Photo(docid, int(number), source, listing, place)

    def _listing(self, docid: str, row: dict[str, str]) -> Listing:
        name = next((row[column] for column in NAMES if row.get(column)), "")
        Business(docid=docid, name=name)
        names = [name for name in row.get("categories", "").split("|") if name.strip()]
        return Listing(docid, name, tuple(categories_from(names)))

    @contextmanager
    def _opened(self) -> Iterator[Lines]:
        try:
            with self.path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                yield Lines(file)
        except OSError as error:
            raise JustLensError(f"{self.path}: {error}") from error


def _record(lines: Lines) -> tuple[list[str], str]:
    """The values of the next row, and what is wrong with it as CSV."""
    try:
        # Strict: a quote that is not closed, or closed by the next one of another row, is an error.
        return next(csv.reader(lines, strict=True), []), ""
    except csv.Error as error:
        return [], str(error)
