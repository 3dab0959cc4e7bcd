"""A catalogue of any length is handed over no faster than it is worked off."""

import gc
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipeline import backfill as backfill_module
from pipeline.backfill import Backfill, Listing, Outcome, Photo
from pipeline.errors import BrokerUnavailable, DiskFull, JustLensError, StoreUnavailable
from pipeline.ingest import Intake
from pipeline.queues import Lane, Stage
from pipeline.records import Business, CatalogueImage, Category, Contract, ImageState
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores
from tests.pictures import encoded, plain
from tests.shops import Outbox

BARS = Category(catid=2, name="Bars", is_hot=True)
CAFES = Category(catid=1, name="Cafés", is_hot=True)


class Running:
    """A system whose workers end some images whenever somebody waits.

    Attributes:
        pace: images that end in a pause.
        foreign: messages of others in the lane.
        most: that were on their way at a time.
    """

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_dir=folder)
        self.stores: Stores = open_stores(self.settings)
        self.outbox = Outbox()
        self.intake = Intake(self.stores, self.settings, self.send)
        self.on_their_way: dict[tuple[str, int], CatalogueImage] = {}
        self.pace = 3
        self.foreign = 0
        self.most = 0
        self.now = 0.0
        self.parked: set[int] = set()

    def send(self, image: CatalogueImage, start: Stage) -> None:
        self.outbox(image, start)
        self.on_their_way[image.docid, image.product_id] = image
        self.most = max(self.most, len(self.on_their_way))

    def waiting(self) -> int:
        self.outbox.backlog()
        return self.foreign + len(self.on_their_way)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for key in list(islice(self.on_their_way, self.pace if seconds else 0)):
            image = self.on_their_way.pop(key)
            failed = image.product_id in self.parked
            state = {"state": ImageState.FAILED, "failure": "no luck"} if failed else {}
            self.stores.documents.update_image(
                *key, image.generation, {"state": ImageState.DONE, **state}
            )

    def backfill(self, in_flight: int = 10, **options: object) -> Backfill:
        return Backfill(
            self.stores,
            self.settings,
            self.intake,
            self.waiting,
            lane=Lane.BULK,
            in_flight=in_flight,
            sleep=self.sleep,
            clock=lambda: self.now,
            **options,  # type: ignore[arg-type]
        )

    def sent(self) -> list[int]:
        return [image.product_id for image, _ in self.outbox.sent]

    def categories(self, docid: str = "shop") -> list[Category]:
        return self.stores.directory.categories([docid]).get(docid, [])


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    system = Running(tmp_path)
    yield system
    system.stores.close()


def photos(count: int, first: int = 1) -> list[Photo]:
    return [photo(number) for number in range(first, first + count)]


def photo(number: int, listing: Listing | None = None, address: str = "") -> Photo:
    source = address or f"https://a.example/{number}.jpg"
    return Photo("shop", number, source, listing, mark=number)


def run(backfill: Backfill, photos: Iterable[Photo], wait: bool = True) -> list[Outcome]:
    return [outcome for ended in backfill.take_in(photos, wait=wait) for outcome in ended]


def test_no_more_is_on_its_way_than_was_said(running: Running) -> None:
    outcomes = run(running.backfill(in_flight=10), photos(40))
    assert [outcome.state for outcome in outcomes] == ["done"] * 40
    # An image is two messages while it is tagged and described.
    assert running.most == 5
    assert running.sent() == list(range(1, 41))
    assert all(image.lane is Lane.BULK for image, _ in running.outbox.sent)


def test_photos_are_read_no_further_than_there_is_room_for(running: Running) -> None:
    read = []

    def source() -> Iterator[Photo]:
        for one in photos(1_000):
            read.append(one.product_id)
            yield one

    running.pace = 0
    ended = running.backfill(in_flight=10).take_in(source())
    for _ in range(20):
        next(ended)
    assert len(read) == 6


def test_nothing_is_handed_over_while_the_lane_is_full_of_what_others_sent(
    running: Running,
) -> None:
    running.foreign = 10
    ended = running.backfill(in_flight=10).take_in(photos(20))
    for _ in range(5):
        assert next(ended) == []
    assert running.sent() == []
    running.foreign = 7
    running.pace = 0
    for _ in range(5):
        assert next(ended) == []
    assert running.waiting() == 10
    running.pace = 3
    running.foreign = 0
    assert len([outcome for some in ended for outcome in some]) == 20


def test_one_image_that_does_not_end_holds_up_no_other(running: Running) -> None:
    running.pace = 0
    ended = running.backfill(in_flight=10).take_in(photos(30))
    next(ended)
    running.pace = 3
    stuck = running.on_their_way.pop(("shop", 1))
    while len(running.sent()) < 30:
        next(ended)
    running.on_their_way["shop", 1] = stuck
    assert [outcome for some in ended for outcome in some][-1].photo.product_id == 1


def test_with_the_broker_away_it_waits_and_sends_each_photo_once(running: Running) -> None:
    backfill = running.backfill(in_flight=10)
    ended = backfill.take_in(photos(20))
    next(ended)
    running.outbox.is_down = True
    for _ in range(50):
        next(ended)
    assert "no one is there" in backfill.trouble
    before = running.sent()
    running.outbox.is_down = False
    outcomes = [outcome for some in ended for outcome in some]
    assert running.sent() == list(range(1, 21)) != before
    assert running.most == 5
    assert backfill.trouble == ""
    assert outcomes[-1].photo.product_id == 20


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    """Gives up after so many seconds."""
    monkeypatch.setitem(backfill_module.PATIENCE, Lane.BULK, 20.0)
    return 20.0


def test_a_broker_that_stays_away_is_an_error_in_the_end(
    running: Running, impatient: float
) -> None:
    running.outbox.is_down = True
    with pytest.raises(BrokerUnavailable):
        run(running.backfill(), photos(1))
    assert running.now > impatient


@pytest.mark.usefixtures("impatient")
def test_without_any_progress_it_gives_up_and_says_where_to_look(running: Running) -> None:
    running.pace = 0
    with pytest.raises(JustLensError, match="are the workers running"):
        run(running.backfill(), photos(9))


def test_more_photos_than_one_look_asks_for_do_not_look_like_progress(
    running: Running, impatient: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill_module, "AT_ONCE", 4)
    running.pace = 0
    with pytest.raises(JustLensError, match="are the workers running"):
        for _ in running.backfill(in_flight=20).take_in(photos(11)):
            assert running.now < 2 * impatient


@pytest.mark.usefixtures("impatient")
def test_a_photo_that_only_moves_on_is_progress(running: Running) -> None:
    running.pace = 0
    ended = running.backfill().take_in(photos(3))
    for stage in (Stage.UPDATE, Stage.TAG, Stage.SCORE):
        for _ in range(30):
            assert next(ended) == []
        running.stores.documents.update_image("shop", 2, 1, {"stage": stage})
    with pytest.raises(JustLensError, match="are the workers running"):
        list(ended)


class Outage:
    """Calls that raise an error for as long as there is one."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self._real = real
        self.error: StoreUnavailable | None = None
        self.calls_before = 0

    def __call__(self, *given: Any) -> Any:
        if self.error and self.calls_before <= 0:
            raise self.error
        self.calls_before -= 1
        return self._real(*given)


@pytest.fixture
def reading(running: Running, monkeypatch: pytest.MonkeyPatch) -> Outage:
    """Of what is read of photos, two at once."""
    documents = running.stores.documents
    monkeypatch.setattr(backfill_module, "AT_ONCE", 2)
    monkeypatch.setattr(documents, "images_of", outage := Outage(documents.images_of))
    return outage


def test_what_was_read_before_a_store_went_away_is_told(running: Running, reading: Outage) -> None:
    running.parked = {1}
    backfill = running.backfill(in_flight=10)
    ended = backfill.take_in(photos(9))
    reading.error, reading.calls_before = StoreUnavailable("no one is there"), 1
    assert [(one.photo.product_id, one.state) for one in next(ended)] == [
        (1, "failed"),
        (2, "done"),
    ]
    assert (backfill.mark, backfill.trouble) == (3, "no one is there")
    reading.error = None
    outcomes = [outcome for some in ended for outcome in some]
    assert [outcome.photo.product_id for outcome in outcomes] == list(range(3, 10))
    assert backfill.trouble == ""


@pytest.fixture
def writing(running: Running, monkeypatch: pytest.MonkeyPatch) -> Outage:
    """Of photos' bytes."""
    objects = running.stores.objects
    monkeypatch.setattr(objects, "put", outage := Outage(objects.put))
    return outage


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A photo."""
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(plain()))
    return str(path)


def test_a_store_that_only_takes_nothing_in_is_told_while_it_is_waited_for(
    running: Running, writing: Outage, file: str
) -> None:
    writing.error = DiskFull("no space left")
    backfill = running.backfill()
    ended = backfill.take_in(photo(number, address=file) for number in range(1, 4))
    for _ in range(5):
        assert next(ended) == []
        assert backfill.trouble == "no space left"
    # With no room in the lane, that is what is waited for.
    running.foreign = 100
    for _ in range(2):
        next(ended)
    assert backfill.trouble == ""
    running.foreign, writing.error = 0, None
    assert [outcome.state for some in ended for outcome in some] == ["done"] * 3
    assert backfill.trouble == ""


@pytest.mark.usefixtures("impatient")
def test_a_store_that_takes_nothing_in_for_too_long_is_the_error_in_the_end(
    running: Running, writing: Outage, file: str
) -> None:
    writing.error = DiskFull("no space left")
    with pytest.raises(DiskFull):
        run(running.backfill(), [photo(1, address=file)])


def test_it_tells_how_it_stands_once_a_second_even_while_nothing_ends(running: Running) -> None:
    running.pace = 0

    def slowly() -> Iterator[Photo]:
        for one in photos(20):
            running.now += 0.3
            yield one

    told = [running.now for _ in running.backfill(in_flight=1_000).take_in(slowly(), wait=False)]
    assert len(told) == 5


def test_the_same_call_again_sends_nothing_twice(running: Running) -> None:
    ended = running.backfill(in_flight=10).take_in(photos(20))
    while len(running.sent()) < 12:
        next(ended)
    # Killed here: what it knew is gone.
    backfill = running.backfill(in_flight=10)
    outcomes = run(backfill, photos(20))
    assert running.sent() == list(range(1, 21))
    assert {outcome.photo.product_id for outcome in outcomes} == set(range(1, 21))
    assert running.most == 5


def test_a_row_that_was_accepted_and_never_sent_is_sent_by_the_same_call(
    running: Running,
) -> None:
    running.outbox.is_down = True
    with pytest.raises(BrokerUnavailable):
        running.intake.accept_job(
            backfill_module.ImageJob(
                docid="shop", product_id=1, product_url="https://a.example/1.jpg"
            )
        )
    running.outbox.is_down = False
    run(running.backfill(), photos(2))
    assert running.sent() == [1, 2]


def test_its_mark_is_the_first_photo_that_has_not_ended(running: Running) -> None:
    backfill = running.backfill(in_flight=20)
    ended = backfill.take_in(photos(20))
    running.pace = 0
    next(ended)
    assert backfill.mark == 1
    running.pace = 3
    next(ended)
    assert backfill.mark == 4
    for _ in ended:
        pass
    assert backfill.in_flight == 0
    assert backfill.mark == 20


def test_without_waiting_it_ends_when_everything_is_handed_over(running: Running) -> None:
    backfill = running.backfill(in_flight=10)
    outcomes = run(backfill, photos(20), wait=False)
    assert len(running.sent()) == 20
    assert 0 < backfill.in_flight <= 5
    assert len(outcomes) + backfill.in_flight == 20


def test_what_is_parked_deleted_or_wrong_is_said_and_harms_no_other(running: Running) -> None:
    running.parked = {3}
    wrong = Photo("", 0, "line 4", wrong="docid: is empty")
    ended = running.backfill(in_flight=20).take_in(
        [*photos(3), wrong, photo(4, address="no such file.jpg"), *photos(2, 5)]
    )
    outcomes = list(next(ended))
    running.stores.documents.delete_image("shop", 2)
    outcomes += [outcome for some in ended for outcome in some]
    by_id = {outcome.photo.product_id: outcome for outcome in outcomes}
    assert {number: by_id[number].state for number in sorted(by_id)} == {
        0: "refused",
        1: "done",
        2: "deleted",
        3: "failed",
        4: "refused",
        5: "done",
        6: "done",
    }
    assert by_id[3].failure == "no luck"
    assert "no such file" in by_id[4].failure
    assert by_id[0].is_trouble and by_id[3].is_trouble and not by_id[2].is_trouble


def test_of_two_photos_under_one_id_the_last_is_the_one_that_stays(running: Running) -> None:
    run(running.backfill(), [photo(1), photo(2), photo(1, address="https://a.example/new.jpg")])
    row = running.stores.documents.image("shop", 1)
    assert row is not None
    assert (row.url, row.generation) == ("https://a.example/new.jpg", 2)


def test_a_business_is_written_when_a_row_says_something_new_of_it(running: Running) -> None:
    documents = running.stores.documents
    contract = Contract(contract_id="c-1")
    documents.save_businesses([Business(docid="shop", name="Corner", contract=contract)])
    running.stores.directory.save_categories("shop", [CAFES])
    run(running.backfill(), [photo(1, Listing("shop"))])
    assert running.categories() == [CAFES]
    run(
        running.backfill(),
        [
            photo(2, Listing("shop", "The Corner", (BARS,))),
            photo(3, Listing("shop")),
            photo(4, Listing("new", categories=(CAFES,))),
        ],
    )
    assert running.categories() == [BARS]
    shop = documents.businesses(["shop"])["shop"]
    assert (shop.name, shop.contract) == ("The Corner", contract)
    assert documents.businesses(["new"])["new"].name == "new"


def test_listings_are_looked_up_once_and_not_kept_for_good(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    businesses = running.stores.documents.businesses
    monkeypatch.setattr(
        running.stores.documents,
        "businesses",
        lambda docids: asked.extend(docids) or businesses(docids),
    )
    monkeypatch.setattr(backfill_module, "LISTINGS", 2)
    names = ["a", "a", "b", "a", "c", "a", "b"]
    run(running.backfill(), [photo(n, Listing(name)) for n, name in enumerate(names, 1)])
    assert asked == ["a", "b", "c", "b"]


def test_memory_does_not_grow_with_the_catalogue(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are in already: nothing is kept of them."""
    known = CatalogueImage(docid="shop", product_id=1, state=ImageState.DONE)
    done = running.intake._queue(known, Stage.ENHANCE).model_copy(
        update={"state": ImageState.DONE, "queued": False}
    )
    monkeypatch.setattr(running.intake, "accept_job", lambda job, lane: done)
    backfill = running.backfill()
    ended = backfill.take_in(photo(n) for n in range(1, 50_001))
    count = 0
    for some in ended:
        count += len(some)
        if count == 5_000:
            early = living()
    assert count == 50_000
    # Of 45,000 photos; other threads make a few.
    assert living() - early < 2_000


def living() -> int:
    """Objects that are held by anything."""
    gc.collect()
    return len(gc.get_objects())
