"""What commands that take photos in have in common: the system that runs, a few photos at once."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cli.output import progress
from cli.processes import System, free_port
from pipeline.backfill import Backfill, Outcome, Photo
from pipeline.broker import EmbeddedBroker, run_directory
from pipeline.errors import JustLensError
from pipeline.graph import Sender
from pipeline.ingest import Intake
from pipeline.numbers import category_number
from pipeline.queues import Lane
from pipeline.records import Business, Category
from pipeline.settings import Settings
from pipeline.stores import Stores

LONGEST_NAME = 191


def categories_from(names: Sequence[str]) -> list[Category]:
    """Categories by ``name`` or ``catid:name``: the first is hot, a repeated one counts once.

    Raises:
        JustLensError: a name is empty or too long.
    """
    categories: dict[int, Category] = {}
    for text in names:
        number, colon, name = text.partition(":")
        numbered = bool(colon) and number.strip().isdigit()
        label = (name if numbered else text).strip()
        catid = int(number) if numbered else category_number(label)
        if not 1 <= len(label) <= LONGEST_NAME:
            raise JustLensError(f"a category's name has 1 to {LONGEST_NAME} characters: {label!r}")
        categories.setdefault(catid, Category(catid=catid, name=label, is_hot=not categories))
    return list(categories.values())


@contextmanager
def running_system(settings: Settings) -> Iterator[None]:
    """The system that runs, or one of our own for as long as the block lasts.

    On a broker of their own, workers may run on any machine: they are asked for. The embedded one
    belongs to its data folder.
    """
    if not EmbeddedBroker.is_at(settings.broker_url, settings) and _workers_answer():
        yield
        return
    lock = FileLock(run_directory(settings) / "up.lock")
    try:
        lock.acquire(timeout=0)
        lock.release()
    except Timeout:
        yield
        return
    with System(settings, port=free_port(settings.api_host)).running():
        yield


def _workers_answer() -> bool:
    from tasks import app

    return bool(app.control.ping(timeout=2))


def take_in(
    stores: Stores,
    settings: Settings,
    businesses: Sequence[tuple[Business, Sequence[Category]]],
    photos: Sequence[Photo],
) -> list[Outcome]:
    """Hand a few photos in before any backfill, with a bar, and wait until each is done or parked.

    Raises:
        JustLensError: nothing has moved for three minutes.
    """
    sender = Sender()
    intake = Intake(stores, settings, sender)
    intake.save_businesses(businesses)
    lane = Lane.INTERACTIVE
    backfill = Backfill(
        stores,
        settings,
        intake,
        lambda: sender.waiting(lane),
        lane=lane,
        in_flight=settings.ingest_in_flight,
    )
    outcomes: list[Outcome] = []
    with progress() as bars:
        bar = bars.add_task("processing", total=len(photos), note="")
        for ended in backfill.take_in(photos):
            outcomes += ended
            bars.update(bar, completed=len(outcomes), note=f"{backfill.in_flight} on their way")
    return outcomes


def read_json(path: Path) -> object:
    """A JSON file.

    Raises:
        JustLensError: it is not there, or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise JustLensError(f"{path}: {error}") from error
