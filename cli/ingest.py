"""``justlens ingest``."""

import csv
import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import typer

from cli.catalogue_file import CatalogueFile, Place
from cli.ingest_progress import Standing, telling
from cli.intake import categories_from, running_system
from cli.output import out, print_json
from pipeline.backfill import Backfill, Listing, Outcome, Photo
from pipeline.errors import JustLensError, StoreUnavailable
from pipeline.graph import Sender
from pipeline.ingest import Intake
from pipeline.numbers import file_number
from pipeline.queues import Lane
from pipeline.settings import Settings, settings
from pipeline.stores import Stores, open_stores
from pipeline.stores.documents import DocumentStore

# More photos than this are a backfill, and let uploads go first; so does every CSV file.
BULK = 100
# Of what failed; a file of any length is told of in bounded memory.
MOST_NAMED = 1000
# Seconds.
NOTE_EVERY = 2.0

LaneChoice = Literal["auto", "interactive", "bulk"]


class Bookmark:
    """How far a file was taken in, kept among the documents: where the same call goes on.

    It is a short cut and no more, since a photo that is in already is no work: another path or a
    changed file begins at its first row.
    """

    def __init__(self, documents: DocumentStore, file: CatalogueFile) -> None:
        identity = f"{file.path.resolve()}|{file.size}|{file.changed_at}"
        self._name = f"ingest.{hashlib.sha256(identity.encode()).hexdigest()[:24]}"
        self._documents = documents

    def read(self) -> Place | None:
        """None: nothing was taken in, or everything."""
        found = self._documents.value(self._name)
        return Place(found["offset"], found["line"]) if found else None

    def write(self, place: Place | None) -> None:
        """All rows before the place have ended; None: so have all others."""
        self._documents.save_value(self._name, asdict(place) if place else None)

    def note(self, place: Place | None) -> None:
        """Write it, or leave it: a store that is away is waited for by whoever needs it."""
        with suppress(StoreUnavailable):
            self.write(place)


class RefusedRows:
    """The rows that could not be taken in, as a file that is an input again once it is mended.

    Raises:
        JustLensError: the file cannot be written.
    """

    def __init__(self, path: Path, file: CatalogueFile, start: Place | None) -> None:
        self.path = path
        self._source = file
        kept = []
        try:
            if start and path.exists():
                with path.open(newline="", encoding="utf-8", errors="surrogateescape") as earlier:
                    kept = [row for row in csv.reader(earlier) if _line(row) < start.line]
            self._file = path.open("w", newline="", encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise JustLensError(f"{path}: {error}; --refused names another place") from error
        self._writer = csv.writer(self._file)
        self._writer.writerow([*file.header, "line", "refused_because"])
        self._writer.writerows(kept)
        self.count = len(kept)

    def add(self, outcome: Outcome) -> None:
        """Keep the row of a photo that was refused."""
        place = outcome.photo.mark
        values = self._source.values(place)
        values += [""] * (len(self._source.header) - len(values))
        self._writer.writerow([*values, str(place.line), outcome.failure])
        self._file.flush()
        self.count += 1

    def close(self) -> None:
        """Leave no file behind that says nothing."""
        self._file.close()
        if not self.count:
            self.path.unlink()


def _line(row: Sequence[str]) -> float:
    """The line of a row that was kept; the header, and what a kill has cut off, have none."""
    return int(row[-2]) if len(row) > 1 and row[-2].isdecimal() else float("inf")


class Ingest:
    """Takes photos in from one source after another, and counts what becomes of them."""

    def __init__(
        self,
        stores: Stores,
        chosen: Settings,
        *,
        lane: LaneChoice,
        in_flight: int | None,
        force: bool,
        wait: bool,
        json_output: bool,
    ) -> None:
        self._stores = stores
        self._settings = chosen
        self._sender = Sender()
        self._intake = Intake(stores, chosen, self._sender)
        self._lane = lane
        self._most = in_flight or chosen.ingest_in_flight
        self._force = force
        self._wait = wait
        self._json = json_output
        self._began = time.monotonic()
        self.counts: Counter[str] = Counter()
        self.failed: list[Outcome] = []
        self.left = 0
        self.refused_rows: list[str] = []
        self.resumed_at: list[str] = []

    def photos(self, photos: Sequence[Photo]) -> None:
        """Photos in files and folders."""
        lane = Lane.BULK if len(photos) > BULK else Lane.INTERACTIVE
        backfill = self._backfill(lane)
        so_far = 0
        with telling("photos", as_json=self._json) as tell:
            for ended in backfill.take_in(photos, wait=self._wait):
                so_far += self._count(ended)
                tell(_standing(so_far, backfill, len(photos)))
        self.left += backfill.in_flight

    def catalogue(self, file: CatalogueFile, refused: Path) -> None:
        """The rows of a CSV file, from where an earlier call was ended."""
        bookmark = Bookmark(self._stores.documents, file)
        start = bookmark.read()
        if start is not None:
            self.resumed_at.append(f"{file.path}, line {start.line}")
        backfill = self._backfill(Lane.BULK)
        rows = RefusedRows(refused, file, start)
        noted_at = time.monotonic()
        so_far = 0
        try:
            with telling(file.path.name, as_json=self._json) as tell:
                for ended in backfill.take_in(file.photos(start), wait=self._wait):
                    so_far += self._count(ended)
                    for outcome in ended:
                        if outcome.state == "refused":
                            rows.add(outcome)
                    read = so_far + backfill.in_flight
                    tell(
                        _standing(so_far, backfill, read + _rows_left(file, start, backfill, read))
                    )
                    if time.monotonic() - noted_at > NOTE_EVERY:
                        bookmark.note(backfill.mark or start)
                        noted_at = time.monotonic()
        except BaseException:
            bookmark.note(backfill.mark or start)
            raise
        finally:
            rows.close()
        bookmark.write(None)
        self.left += backfill.in_flight
        if rows.count:
            self.refused_rows.append(str(rows.path))

    def report(self) -> None:
        """Print counts, and what failed with its reason; exit status 1 where something did."""
        seconds = time.monotonic() - self._began
        counts = {**self.counts, "in_flight": self.left}
        told = {name: count for name, count in counts.items() if count}
        trouble = self.counts["failed"] + self.counts["refused"]
        rate = round(self.counts.total() / seconds, 2)
        if self._json:
            failures = [
                {**_named(o.photo), "state": o.state, "failure": o.failure} for o in self.failed
            ]
            print_json(
                {
                    **told,
                    "seconds": round(seconds, 1),
                    "images_per_second": rate,
                    "failures": failures,
                    "refused_rows": self.refused_rows,
                    "resumed_at": self.resumed_at,
                }
            )
        else:
            for outcome in self.failed:
                out.print(
                    f"[red]{outcome.state}[/] {outcome.photo.source}: {outcome.failure}",
                    highlight=False,
                )
            if trouble > len(self.failed):
                out.print(f"and {trouble - len(self.failed)} more: `justlens dlq list`")
            for path in self.refused_rows:
                out.print(f"The refused rows, with reasons, are in {path}", highlight=False)
            counted = ", ".join(f"{count} {state}" for state, count in told.items())
            out.print(f"{counted or 'nothing to do'}, {rate:g} a second")
        if trouble or self.refused_rows:
            raise typer.Exit(1)

    def _backfill(self, lane: Lane) -> Backfill:
        chosen = lane if self._lane == "auto" else Lane[self._lane.upper()]
        return Backfill(
            self._stores,
            self._settings,
            self._intake,
            lambda: self._sender.waiting(chosen),
            lane=chosen,
            in_flight=self._most,
            force=self._force,
        )

    def _count(self, ended: Sequence[Outcome]) -> int:
        for outcome in ended:
            self.counts[outcome.state] += 1
            if outcome.is_trouble and len(self.failed) < MOST_NAMED:
                self.failed.append(outcome)
        return len(ended)


def _standing(ended: int, backfill: Backfill, total: int) -> Standing:
    return Standing(ended, backfill.in_flight, backfill.messages, total, backfill.trouble)


def _rows_left(file: CatalogueFile, start: Place | None, backfill: Backfill, read: int) -> int:
    """How many rows are still to be read, should they be as long as those before."""
    last = backfill.at_hand
    if last is None or not read:
        return 0
    begin = start or file.begin
    bytes_read = max(last.mark.offset - begin.offset, 1)
    return round(read * (file.size - last.mark.offset) / bytes_read) if read > 1 else 1


def _named(photo: Photo) -> dict[str, object]:
    return {"docid": photo.docid, "product_id": photo.product_id, "source": photo.source}


def ingest(
    sources: Sequence[Path],
    *,
    catalogue: Path | None,
    docid: str,
    name: str,
    categories: Sequence[str],
    vocabulary: Path | None,
    lane: LaneChoice,
    in_flight: int | None,
    refused: Path | None,
    force: bool,
    wait: bool,
    json_output: bool,
) -> None:
    """Take photos in; exit status 1 when one of them was refused or parked."""
    if not sources and catalogue is None:
        raise JustLensError("name photos, folders of photos or CSV files, or a CSV file by --csv")
    files = [CatalogueFile(source) for source in sources if _is_csv(source)]
    if catalogue is not None:
        files.append(CatalogueFile(catalogue))
    listing = Listing(docid, name, tuple(categories_from(categories)))
    photos = read_photos([source for source in sources if not _is_csv(source)], listing)
    if not photos and not files:
        raise JustLensError("there is no photo in what was named")
    if refused is not None and len(files) != 1:
        raise JustLensError("--refused goes with one CSV file")
    chosen = settings()
    with running_system(chosen):
        stores = open_stores(chosen)
        if vocabulary is not None:
            stores.directory.add_vocabulary(read_vocabulary(vocabulary))
        work = Ingest(
            stores,
            chosen,
            lane=lane,
            in_flight=in_flight,
            force=force,
            wait=wait,
            json_output=json_output,
        )
        if photos:
            work.photos(photos)
        for file in files:
            work.catalogue(file, refused or file.path.with_suffix(".refused.csv"))
        stores.close()
    work.report()


def _is_csv(source: Path) -> bool:
    return source.suffix.lower() == ".csv"


def read_photos(sources: Sequence[Path], listing: Listing) -> list[Photo]:
    """Photos of files and folders, of one business; a repeated one counts once.

    Raises:
        JustLensError: no business is named, or its id is none; a source does not exist.
    """
    photos: dict[tuple[str, int], Photo] = {}
    for source in sources:
        if not listing.docid:
            raise JustLensError(f"{source}: photos need --docid, the business they belong to")
        folder = source if source.is_dir() else source.parent
        for path in photo_files(source):
            number = file_number(path.relative_to(folder).as_posix())
            photo = Photo(listing.docid, number, str(path), listing)
            photos[photo.key] = photo
    return list(photos.values())


def photo_files(source: Path) -> list[Path]:
    """The file itself, or all files of a folder, in order."""
    if source.is_dir():
        return sorted(path for path in source.rglob("*") if path.is_file() and path.name[0] != ".")
    if not source.exists():
        raise JustLensError(f"{source} does not exist")
    return [source]


def read_vocabulary(path: Path) -> list[str]:
    """Category names, one a line."""
    try:
        return [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise JustLensError(f"{path}: {error}") from error
