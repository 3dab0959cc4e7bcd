"""``justlens ingest``."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer
from pydantic import ValidationError

from cli.intake import Batch, Outcome, Photo, categories_from, running_system
from cli.output import out, print_json, progress
from pipeline.errors import JustLensError
from pipeline.messages import explain
from pipeline.numbers import file_number
from pipeline.queues import Lane
from pipeline.records import Business, Category
from pipeline.settings import settings
from pipeline.stores import open_stores

# More photos than this are a backfill, and let uploads go first.
BULK = 100
COLUMNS = ("docid", "product_id", "product_url")

Businesses = dict[str, tuple[Business, list[Category]]]


def ingest(
    sources: Sequence[Path],
    *,
    docid: str,
    name: str,
    categories: Sequence[str],
    vocabulary: Path | None,
    force: bool,
    wait: bool,
    json_output: bool,
) -> None:
    """Take photos in; exit status 1 when one of them was refused or parked."""
    businesses, photos = read_sources(sources, docid, name, categories)
    if not photos:
        raise JustLensError("there is no photo in what was named")
    chosen = settings()
    with running_system(chosen):
        stores = open_stores(chosen)
        if vocabulary is not None:
            stores.directory.add_vocabulary(read_vocabulary(vocabulary))
        batch = Batch(stores, chosen)
        lane = Lane.BULK if len(photos) > BULK else Lane.INTERACTIVE
        with progress() as bars:
            outcomes = batch.submit(
                list(businesses.values()), photos, force=force, lane=lane, progress=bars
            )
            if wait:
                refused = {outcome.photo.key for outcome in outcomes}
                accepted = [photo for photo in photos if photo.key not in refused]
                outcomes += batch.wait(accepted, bars)
        stores.close()
    report(outcomes, json_output)


def report(outcomes: Sequence[Outcome], json_output: bool) -> None:
    """Print counts, and every failure with its reason."""
    counts = Counter(outcome.state for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.state != "done"]
    if json_output:
        failures = [{**asdict(o.photo), "state": o.state, "failure": o.failure} for o in failed]
        print_json({**counts, "failures": failures})
    else:
        for outcome in failed:
            out.print(
                f"[red]{outcome.state}[/] {outcome.photo.source}: {outcome.failure}",
                highlight=False,
            )
        out.print(", ".join(f"{count} {state}" for state, count in counts.items()) or "handed in")
    if failed:
        raise typer.Exit(1)


def read_sources(
    sources: Sequence[Path], docid: str, name: str, categories: Sequence[str]
) -> tuple[Businesses, list[Photo]]:
    """Businesses and photos of files, folders and CSV files; a repeated photo counts once."""
    businesses: Businesses = {}
    photos: dict[tuple[str, int], Photo] = {}
    for source in sources:
        if source.suffix.lower() == ".csv":
            found = read_csv(source, businesses)
        elif not docid:
            raise JustLensError(f"{source}: photos need --docid, the business they belong to")
        else:
            businesses[docid] = (business(docid, name or docid), categories_from(categories))
            folder = source if source.is_dir() else source.parent
            found = [
                Photo(docid, file_number(path.relative_to(folder).as_posix()), str(path))
                for path in photo_files(source)
            ]
        photos.update((photo.key, photo) for photo in found)
    return businesses, list(photos.values())


def photo_files(source: Path) -> list[Path]:
    """The file itself, or all files of a folder, in order."""
    if source.is_dir():
        return sorted(path for path in source.rglob("*") if path.is_file() and path.name[0] != ".")
    if not source.exists():
        raise JustLensError(f"{source} does not exist")
    return [source]


def read_csv(path: Path, businesses: Businesses) -> list[Photo]:
    """Photos of a CSV file; its businesses are added to ``businesses``.

    Raises:
        JustLensError: a column or a value is missing or wrong; the message names the line.
    """
    photos = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            reader.fieldnames = [
                column.strip().lower().replace(" ", "_") for column in reader.fieldnames or []
            ]
            missing = [column for column in COLUMNS if column not in reader.fieldnames]
            if missing:
                raise JustLensError(f"{path}: the column {missing[0]} is missing")
            for row in reader:
                if not (row["product_id"] or "").strip().isdecimal():
                    raise JustLensError(f"{path}, line {reader.line_num}: product_id: not a number")
                docid = (row["docid"] or "").strip()
                if not docid:
                    raise JustLensError(f"{path}, line {reader.line_num}: docid: is empty")
                _add_business(businesses, docid, row)
                source = (row["product_url"] or "").strip()
                if not source.startswith(("http://", "https://")):
                    source = str(path.parent / source)
                photos.append(Photo(docid, int(row["product_id"]), source))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise JustLensError(f"{path}: {error}") from error
    return photos


def _add_business(businesses: Businesses, docid: str, row: dict[str, str]) -> None:
    names = [name for name in (row.get("categories") or "").split("|") if name.strip()]
    if docid not in businesses or names:
        name = (row.get("business_name") or row.get("name") or docid).strip()
        businesses[docid] = (business(docid, name), categories_from(names))


def business(docid: str, name: str) -> Business:
    """A business.

    Raises:
        JustLensError: the id is not one.
    """
    try:
        return Business(docid=docid, name=name)
    except ValidationError as error:
        raise JustLensError(f"{docid!r}: {explain(error)}") from error


def read_vocabulary(path: Path) -> list[str]:
    """Category names, one a line."""
    try:
        return [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise JustLensError(f"{path}: {error}") from error
