"""Taking many photos in from the command line, with a progress bar, and waiting for them."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError
from rich.progress import Progress

from cli.processes import System, free_port
from pipeline.broker import EmbeddedBroker, run_directory
from pipeline.errors import InvalidMessage, JustLensError
from pipeline.graph import Sender
from pipeline.ingest import Intake
from pipeline.messages import ImageJob, explain
from pipeline.numbers import category_number
from pipeline.queues import Lane
from pipeline.records import Business, CatalogueImage, Category, ImageState
from pipeline.settings import Settings
from pipeline.stores import Stores

POLL = 0.2
LONGEST_NAME = 191
# Without any progress for so long something is wrong, and waiting does not mend it.
STALL_LIMIT = 180.0


@dataclass(frozen=True)
class Photo:
    """A photo to take in: ``source`` is a file, or an http(s) address."""

    docid: str
    product_id: int
    source: str

    @property
    def key(self) -> tuple[str, int]:
        """(docid, product_id)."""
        return self.docid, self.product_id


@dataclass(frozen=True)
class Outcome:
    """How a photo ended."""

    photo: Photo
    state: str
    failure: str = ""


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


class Batch:
    """Photos on their way in.

    Args:
        stores, settings: of the running system.
    """

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self._stores = stores
        self._settings = settings
        self.intake = Intake(stores, settings, Sender())

    def submit(
        self,
        businesses: Sequence[tuple[Business, Sequence[Category]]],
        photos: Sequence[Photo],
        *,
        force: bool,
        lane: Lane,
        progress: Progress,
    ) -> list[Outcome]:
        """Hand everything in; returns what could not be taken in at all."""
        self.intake.save_businesses(businesses)
        refused = []
        bar = progress.add_task("taking in", total=len(photos), note="")
        for photo in photos:
            try:
                self._submit(photo, force=force, lane=lane)
            except (JustLensError, OSError, ValidationError) as error:
                reason = explain(error) if isinstance(error, ValidationError) else str(error)
                refused.append(Outcome(photo, "refused", reason))
            progress.advance(bar)
        return refused

    def _submit(self, photo: Photo, *, force: bool, lane: Lane) -> None:
        if photo.source.startswith(("http://", "https://")):
            job = ImageJob(
                docid=photo.docid,
                product_id=photo.product_id,
                product_url=photo.source,
                force=force,
            )
            self.intake.accept_job(job, lane=lane)
            return
        path = Path(photo.source)
        if path.stat().st_size > self._settings.max_bytes:
            raise InvalidMessage(f"{path.name} is larger than {self._settings.max_bytes} bytes")
        self.intake.accept_bytes(
            photo.docid, photo.product_id, path.read_bytes(), name=path.name, force=force, lane=lane
        )

    def wait(self, photos: Sequence[Photo], progress: Progress) -> list[Outcome]:
        """Wait until every photo is done or parked.

        Raises:
            JustLensError: nothing has moved for three minutes.
        """
        wanted = {photo.key: photo for photo in photos}
        docids = sorted({photo.docid for photo in photos})
        bar = progress.add_task("processing", total=len(wanted), note="")
        last_change = time.monotonic()
        last_seen: object = None
        while True:
            rows = [row for row in self._stores.documents.images(docids) if _key(row) in wanted]
            ended = [row for row in rows if row.state in (ImageState.DONE, ImageState.FAILED)]
            progress.update(bar, completed=len(ended), note=_note(rows))
            if len(ended) == len(wanted):
                return [Outcome(wanted[_key(row)], row.state.value, row.failure) for row in ended]
            seen = [(row.state, row.stage, row.moved_at) for row in rows]
            if seen != last_seen:
                last_seen, last_change = seen, time.monotonic()
            elif time.monotonic() - last_change > STALL_LIMIT:
                raise JustLensError(
                    f"nothing has moved for {STALL_LIMIT:.0f} s: are the workers running? "
                    f"Their logs are in {self._settings.data_dir / 'logs'}"
                )
            time.sleep(POLL)


def _key(row: CatalogueImage) -> tuple[str, int]:
    return row.docid, row.product_id


def _note(rows: Sequence[CatalogueImage]) -> str:
    waiting = Counter(row.stage.value for row in rows if row.state is ImageState.QUEUED)
    return ", ".join(f"{count} at {stage}" for stage, count in waiting.most_common(2))


def read_json(path: Path) -> object:
    """A JSON file.

    Raises:
        JustLensError: it is not there, or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise JustLensError(f"{path}: {error}") from error
