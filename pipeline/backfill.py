"""A catalogue of any length, handed over no faster than it is worked off.

Photos are taken from an iterator, one at a time. One more is handed over only while there is room:
the messages that wait in the lane, and those that its own photos may still become, stay below a
bound. What is remembered are the photos that have not ended yet, so that memory does not grow with
the catalogue.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.errors import (
    BrokerUnavailable,
    InvalidMessage,
    JustLensError,
    PermanentError,
    StoreUnavailable,
)
from pipeline.ingest import Intake, Receipt
from pipeline.messages import ImageJob, explain
from pipeline.queues import Lane
from pipeline.records import Business, Category, ImageState
from pipeline.settings import Settings
from pipeline.stores import Stores

POLL = 0.5
# Seconds after which the broker and the photos are asked again even while there is room.
LOOK_EVERY = 1.0
# Photos that are asked for in one read.
AT_ONCE = 200
# Messages that an image is while it is tagged and described, the most of its whole way.
MOST_MESSAGES = 2
# Businesses whose last listing is remembered.
LISTINGS = 10_000

ENDED = (ImageState.DONE, ImageState.FAILED)
AWAY = (StoreUnavailable, BrokerUnavailable)
ADDRESSES = ("http://", "https://")

# Seconds without any progress after which waiting ends. In the bulk lane uploads go first, and a
# server may be away for a while.
PATIENCE = {Lane.INTERACTIVE: 180.0, Lane.BULK: 3600.0}


@dataclass(frozen=True)
class Listing:
    """What a catalogue says of a business; a name or categories that it leaves out stay."""

    docid: str
    name: str = ""
    categories: tuple[Category, ...] = ()


@dataclass(frozen=True)
class Photo:
    """A photo to take in.

    Attributes
    ----------
    source:
        A file, or an http(s) address.
    listing:
        What is said of its business with it.
    mark:
        Where it stands in the catalogue, in the catalogue's own terms.
    wrong:
        Why it cannot be taken in at all, as far as could be seen when it was read.
    """

    docid: str
    product_id: int
    source: str
    listing: Listing | None = None
    mark: Any = None
    wrong: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """(docid, product_id)."""
        return self.docid, self.product_id


@dataclass(frozen=True)
class Outcome:
    """How a photo ended: ``done``, ``failed`` (parked), ``refused``, ``deleted`` or ``repeated``.

    A repeated one was followed by another photo under its ids before it had ended.
    """

    photo: Photo
    state: str
    failure: str = ""

    @property
    def is_trouble(self) -> bool:
        """Whether somebody has to look at it."""
        return self.state in ("failed", "refused")


class Listings:
    """Writes down what a catalogue says of businesses, each time that it says something new."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        # Hashes: the listings themselves would be 20 MB.
        self._written: OrderedDict[str, bytes] = OrderedDict()

    def write(self, listing: Listing) -> None:
        """Record a business and its categories.

        Raises:
            ValidationError: the docid is none.
            StoreUnavailable: the same call is safe to repeat.
        """
        said = hashlib.blake2b(repr(listing).encode(), digest_size=16).digest()
        if self._written.get(listing.docid) == said:
            self._written.move_to_end(listing.docid)
            return
        known = self._stores.documents.businesses([listing.docid]).get(listing.docid)
        business = known or Business(docid=listing.docid, name=listing.name or listing.docid)
        if known and listing.name:
            business = known.model_copy(update={"name": listing.name})
        if business != known:
            self._stores.documents.save_businesses([business])
        if listing.categories:
            self._stores.directory.save_categories(listing.docid, listing.categories)
        self._written[listing.docid] = said
        self._written.move_to_end(listing.docid)
        if len(self._written) > LISTINGS:
            self._written.popitem(last=False)


class Backfill:
    """Hands photos over as long as there is room, and says how each ended.

    Parameters
    ----------
    stores, settings, intake:
        Of the running system.
    waiting:
        Asks the broker how many messages wait in the lane; raises BrokerUnavailable.
    in_flight:
        Most messages of these photos at any time, wherever they are. Nothing is handed over while
        as many wait in the lane, either, whoever sent them.
    force:
        Enhance even what is large enough.
    sleep, clock:
        How time passes, seconds.

    Attributes
    ----------
    handed_over:
        Photos that were taken in, those included that were in already.
    at_hand:
        The photo that was read last.
    messages:
        That waited in the lane when the broker was asked last.
    """

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        intake: Intake,
        waiting: Callable[[], int],
        *,
        lane: Lane,
        in_flight: int,
        force: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._documents = stores.documents
        self._settings = settings
        self._intake = intake
        self._waiting = waiting
        self._lane = lane
        self._force = force
        self._most = max(1, in_flight // MOST_MESSAGES)
        self._sleep, self._clock = sleep, clock
        self._listings = Listings(stores)
        self._open: dict[tuple[str, int], Photo] = {}
        # What was last read of each of them, the longest not asked for first.
        self._answers: OrderedDict[tuple[str, int], object] = OrderedDict()
        self.at_hand: Photo | None = None
        self._room = 0
        self._looked_at = 0.0
        self._moved_at = clock()
        # Why the last look failed, and why the photo at hand could not be taken in.
        self._not_seen: JustLensError | None = None
        self._not_taken: JustLensError | None = None
        self.handed_over = 0
        self.messages = 0

    @property
    def trouble(self) -> str:
        """What is waited for that was away when it was needed last; empty: nothing is."""
        return str(self._not_seen or self._not_taken or "")

    @property
    def in_flight(self) -> int:
        """Photos that were handed over and have not ended."""
        return len(self._open)

    @property
    def mark(self) -> Any | None:
        """Of the first photo that has not ended: all before it have. None: so has the last."""
        first = next(iter(self._open.values()), self.at_hand)
        return first and first.mark

    def take_in(self, photos: Iterable[Photo], *, wait: bool = True) -> Iterator[list[Outcome]]:
        """Hand all photos over.

        Args:
            photos: read no further than there is room for.
            wait: until all of them have ended; else what is on its way is left to itself.

        Yields:
            What has ended since, perhaps nothing; at least once a second while all goes well.

        Raises:
            JustLensError: nothing has moved for very long.
        """
        self._look()
        for photo in photos:
            self.at_hand = photo
            while (outcomes := self._hand_over(photo)) is None:
                yield self._look(POLL)
            is_due = self._clock() - self._looked_at > LOOK_EVERY
            if is_due:
                outcomes += self._look()
            if is_due or outcomes:
                yield outcomes
        while wait and self._open:
            yield self._look(POLL)

    def _has_room(self) -> bool:
        return min(self._room, self._most - len(self._open)) > 0

    def _hand_over(self, photo: Photo) -> list[Outcome] | None:
        """What has ended by it; None: there is no room yet, or something is away."""
        if photo.wrong:
            return [Outcome(photo, "refused", photo.wrong)]
        self._not_taken = None
        if not self._has_room():
            return None
        try:
            if photo.listing is not None:
                self._listings.write(photo.listing)
            receipt = self._take(photo)
        except AWAY as error:
            self._not_taken = error
            self._is_away()
            return None
        except (PermanentError, OSError, ValueError) as error:
            reason = explain(error) if isinstance(error, ValidationError) else str(error)
            return [Outcome(photo, "refused", reason)]
        self._has_moved()
        self.handed_over += 1
        self._room -= receipt.queued
        if receipt.state in ENDED:
            return [Outcome(photo, receipt.state.value)]
        earlier = self._open.pop(photo.key, None)
        self._open[photo.key] = photo
        if earlier is not None:
            return [Outcome(earlier, "repeated")]
        self._answers[photo.key] = None
        return []

    def _take(self, photo: Photo) -> Receipt:
        if photo.source.startswith(ADDRESSES):
            job = ImageJob(
                docid=photo.docid,
                product_id=photo.product_id,
                product_url=photo.source,
                force=self._force,
            )
            return self._intake.accept_job(job, lane=self._lane)
        path = Path(photo.source)
        if path.stat().st_size > self._settings.max_bytes:
            raise InvalidMessage(f"{path.name} is larger than {self._settings.max_bytes} bytes")
        return self._intake.accept_bytes(
            photo.docid,
            photo.product_id,
            path.read_bytes(),
            name=path.name,
            force=self._force,
            lane=self._lane,
        )

    def _look(self, pause: float = 0.0) -> list[Outcome]:
        """Ask how much room there is, and which photos have ended."""
        self._sleep(pause)
        self._looked_at = self._clock()
        outcomes: list[Outcome] = []
        before = self.messages
        try:
            self.messages = self._waiting()
            self._ask(outcomes)
        except AWAY as error:
            self._not_seen = error
            self._is_away()
            return outcomes
        self._not_seen = None
        if self.messages != before:
            self._has_moved()
        self._room = self._most - self.messages // MOST_MESSAGES
        self._give_up_at(self._looked_at)
        return outcomes

    def _ask(self, outcomes: list[Outcome]) -> None:
        """Add those that have ended among the longest not asked for; more while most have.

        What was added stays so where a later read raises.
        """
        left = len(self._answers)
        while left > 0:
            asked = list(islice(self._answers, AT_ONCE))
            rows = self._documents.images_of(asked)
            left -= len(asked)
            before = len(outcomes)
            for key in asked:
                row = rows.get(key)
                earlier = self._answers.pop(key)
                if row is None or row.state in ENDED:
                    state, failure = (row.state.value, row.failure) if row else ("deleted", "")
                    outcomes.append(Outcome(self._open.pop(key), state, failure))
                    self._has_moved()
                    continue
                answer = row.stage, row.moved_at
                self._answers[key] = answer
                if answer != earlier:
                    self._has_moved()
            if 2 * (len(outcomes) - before) < len(asked):
                break

    def _has_moved(self) -> None:
        self._moved_at = self._clock()

    def _is_away(self) -> None:
        # What has been sent meanwhile is not known: nothing more before the broker was asked.
        self._room = 0
        self._give_up_at(self._clock())

    def _give_up_at(self, now: float) -> None:
        patience = PATIENCE[self._lane]
        if now - self._moved_at <= patience:
            return
        if error := self._not_seen or self._not_taken:
            raise error
        raise JustLensError(
            f"nothing has moved for {patience:.0f} s: are the workers running? "
            f"Their logs are in {self._settings.data_dir / 'logs'}; the same call goes on here"
        )
