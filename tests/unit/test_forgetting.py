"""Forgetting images and businesses, whole, shared, half-way and while stages are at them."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app as command_line
from pipeline.errors import (
    ConfigurationError,
    JustLensError,
    ObjectMissing,
    PurgeFailed,
    PurgeRefused,
    StoreUnavailable,
)
from pipeline.forgetting import Forgetting
from pipeline.graph import message_for
from pipeline.ingest import Intake
from pipeline.queues import Stage
from pipeline.records import (
    AltTag,
    Business,
    Category,
    Enhancement,
    ImageState,
)
from pipeline.settings import Settings, settings
from pipeline.stores import Stores, open_stores
from tasks import app, stage
from tasks.right_of_way import RightOfWay
from tests.belongings import QUEUE, leave, left, letter_key
from tests.pictures import encoded, plain
from tests.shops import Outbox

PHOTO, OTHER = encoded(plain()), encoded(plain((200, 100, 50)))
ENHANCED = "enhanced/ab/cd.png"


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def stores(chosen: Settings) -> Iterator[Stores]:
    opened = open_stores(chosen)
    yield opened
    opened.close()


@pytest.fixture
def withdrawn() -> list[tuple[str, frozenset[str]]]:
    """What was taken out of error queues."""
    return []


@pytest.fixture
def forgetting(stores: Stores, withdrawn: list[Any]) -> Forgetting:
    def withdraw(queue: str, keys: frozenset[str]) -> int:
        withdrawn.append((queue, keys))
        return len(keys)

    return Forgetting(stores, withdraw)


@pytest.fixture
def hang(stores: Stores, chosen: Settings) -> Callable[..., None]:
    """Leaves all that an image that is done has, in every store."""

    def hung(product_id: int, content: bytes = PHOTO, docid: str = "shop") -> None:
        intake = Intake(stores, chosen, Outbox())
        enhanced = ENHANCED if content is PHOTO else ""
        leave(stores, intake, lambda queue, body: None, docid, product_id, content, enhanced)

    return hung


def test_of_an_image_a_tombstone_stays_and_nothing_else(
    stores: Stores, hang: Callable[..., None], forgetting: Forgetting, withdrawn: list[Any]
) -> None:
    hang(1)
    assert forgetting.image("shop", 1) == {
        "images": 1,
        "objects": 2,
        "facts": 2,
        "vectors": 2,
        "alt_texts": 1,
        "dead_letters": 1,
    }
    assert left(stores) == {}
    assert withdrawn == [(QUEUE, frozenset({letter_key("shop", 1)}))]
    row = stores.documents.image("shop", 1)
    assert row is not None
    assert (row.state, row.generation) == (ImageState.DELETED, 2)
    # What is in flight writes under the old generation, and changes nothing.
    assert not stores.documents.update_image("shop", 1, 1, {"state": ImageState.DONE})
    assert forgetting.image("shop", 1).total() == 0
    assert forgetting.image("shop", 404).total() == 0


def test_what_is_left_without_a_row_goes_as_well(stores: Stores, forgetting: Forgetting) -> None:
    stores.vectors.save_image("m", "picture", "nobody", 9, np.ones(4))
    stores.directory.save_alt_text(AltTag(docid="nobody", product_id=9, alttag="a", score=0.5))
    counts = forgetting.image("nobody", 9)
    assert (counts["images"], counts["vectors"], counts["alt_texts"]) == (0, 1, 1)
    assert left(stores) == {}


def test_what_another_image_shares_stays_until_that_one_goes(
    stores: Stores, hang: Callable[..., None], forgetting: Forgetting
) -> None:
    hang(1)
    hang(2, docid="other")
    assert forgetting.image("shop", 1)["objects"] == 0
    found = left(stores)
    assert len(found["objects"]) == 2
    assert len(found["facts"]) == 1
    assert found["scores"] == found["vectors"] == found["alt texts"] == [("other", 2)]
    assert found["letters"] == [letter_key("other", 2)]
    assert forgetting.image("other", 2)["objects"] == 2
    assert left(stores) == {}


def test_an_enhanced_version_that_another_photo_has_stays(
    stores: Stores, hang: Callable[..., None], forgetting: Forgetting
) -> None:
    hang(1)
    hang(2, OTHER)
    same = Enhancement(action="enhanced", key=ENHANCED).model_dump(mode="json")
    stores.documents.patch_metadata("shop", 2, 1, {"enhancement": same})
    assert forgetting.image("shop", 1)["objects"] == 1
    assert stores.objects.exists(ENHANCED)


STEPS = {
    "known_images": lambda stores: stores.vectors,
    "delete_alt_text": lambda stores: stores.directory,
    "images_with": lambda stores: stores.documents,
    "delete": lambda stores: stores.objects,
    "drop_pixel_facts": lambda stores: stores.documents,
    "dead_letters": lambda stores: stores.documents,
}


@pytest.mark.parametrize("step", STEPS)
def test_a_call_that_was_cut_off_is_ended_by_the_next(
    stores: Stores,
    hang: Callable[..., None],
    forgetting: Forgetting,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    hang(1)
    with monkeypatch.context() as cut, pytest.raises(StoreUnavailable):
        cut.setattr(STEPS[step](stores), step, _away)
        forgetting.image("shop", 1)
    assert left(stores)
    forgetting.image("shop", 1)
    assert left(stores) == {}


def test_a_cdn_is_told_of_the_objects_once_they_are_gone(
    stores: Stores, hang: Callable[..., None]
) -> None:
    purged: list[str] = []

    def purge(keys: Sequence[str]) -> None:
        assert keys and not any(stores.objects.exists(key) for key in keys)
        purged.extend(keys)

    forgetting = Forgetting(stores, lambda queue, keys: 0, purge)
    hang(1)
    hang(2, docid="other")
    row = stores.documents.image("shop", 1)
    assert row is not None
    forgetting.image("shop", 1)
    assert purged == []
    forgetting.image("other", 2)
    assert purged == [ENHANCED, row.original_key]
    forgetting.image("other", 2)
    assert len(purged) == 2


@pytest.mark.parametrize(
    "error", [PurgeFailed("away"), PurgeRefused("no"), ConfigurationError("no host")]
)
def test_a_cdn_that_cannot_be_told_stops_nothing_and_is_asked_again(
    stores: Stores, hang: Callable[..., None], chosen: Settings, error: JustLensError
) -> None:
    asked: list[Sequence[str]] = []

    def purge(keys: Sequence[str]) -> None:
        asked.append(keys)
        if len(asked) == 1:
            raise error

    forgetting = Forgetting(stores, lambda queue, keys: 0, purge)
    Intake(stores, chosen, Outbox()).save_business(Business(docid="shop", name="Shop"), [])
    hang(1)
    hang(2, OTHER)
    with pytest.raises(type(error)):
        forgetting.business("shop")
    assert left(stores).keys() == {"facts"}
    assert len(asked) == 1
    assert stores.documents.businesses(["shop"])
    forgetting.business("shop")
    assert left(stores) == {}
    assert asked[1] == asked[0] and len(asked) == 3
    assert not stores.documents.businesses(["shop"])


def test_a_photo_can_come_back_and_keeps_what_is_its_own(
    stores: Stores, hang: Callable[..., None], forgetting: Forgetting, chosen: Settings
) -> None:
    hang(1)
    forgetting.image("shop", 1)
    receipt = Intake(stores, chosen, Outbox()).accept_bytes("shop", 1, PHOTO)
    assert (receipt.generation, receipt.queued) == (3, True)
    row = stores.documents.image("shop", 1)
    assert row is not None
    assert stores.objects.get(row.original_key) == PHOTO


def test_an_object_that_a_new_photo_counts_on_meanwhile_is_put_back(
    stores: Stores,
    hang: Callable[..., None],
    forgetting: Forgetting,
    chosen: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hang(1, OTHER)
    delete = stores.objects.delete

    def deleted_late(key: str) -> None:
        # Its row is written after the other row was looked for, and before the object is gone.
        Intake(stores, chosen, Outbox()).accept_bytes("shop", 2, OTHER)
        delete(key)

    monkeypatch.setattr(stores.objects, "delete", deleted_late)
    assert forgetting.image("shop", 1)["objects"] == 0
    row = stores.documents.image("shop", 2)
    assert row is not None
    assert stores.objects.get(row.original_key) == OTHER
    assert len(stores.documents.pixel_facts(row.sha256)) == 2


def test_a_business_goes_with_its_images_and_the_call_can_be_cut_off_and_repeated(
    stores: Stores,
    hang: Callable[..., None],
    forgetting: Forgetting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.forgetting.AT_ONCE", 2)
    business = Business(docid="shop", name="Shop")
    stores.documents.save_businesses([business, Business(docid="other", name="Other")])
    stores.directory.save_categories("shop", [Category(catid=1, name="Cafés")])
    for number in range(1, 6):
        hang(number)
    hang(1, OTHER, docid="other")
    with monkeypatch.context() as cut, pytest.raises(StoreUnavailable):
        cut.setattr(stores.objects, "delete", _away)
        forgetting.business("shop")
    # The business is still there to be forgotten.
    assert stores.documents.businesses(["shop"]) == {"shop": business}
    done: list[int] = []
    counts = forgetting.business("shop", done.append)
    assert sum(done) == 5
    assert (counts["businesses"], counts["categories"], counts["dead_letters"]) == (1, 1, 5)
    assert stores.documents.businesses(["shop", "other"]).keys() == {"other"}
    assert stores.directory.categories(["shop"]) == {"shop": []}
    assert left(stores)["scores"] == [("other", 1)]
    assert left(stores)["letters"] == [letter_key("other", 1)]
    assert forgetting.business("shop").total() == 0


class TestStagesInFlight:
    """A stage that is at an image while it is forgotten leaves nothing behind."""

    @pytest.fixture
    def run(
        self,
        stores: Stores,
        hang: Callable[..., None],
        forgetting: Forgetting,
        chosen: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Callable[[Callable[[], None]], dict[str, Any]]:
        """Runs the tag stage for image 1; the work does what the argument does."""
        hang(1)
        image = stores.documents.image("shop", 1)
        assert image is not None
        task = app.tasks[Stage.TAG.value]
        here = SimpleNamespace(stores=stores, settings=chosen, right_of_way=RightOfWay())
        queues = SimpleNamespace(withdraw=lambda queue, keys: len(keys))
        monkeypatch.setattr(stage, "ErrorQueues", lambda app: queues)
        monkeypatch.setattr(type(task), "inputs", lambda self, run: ())
        parked: list[Any] = []
        monkeypatch.setattr(stage, "park", lambda *letter, **_: parked.append(letter))
        message = message_for(image)

        def at_work(meanwhile: Callable[[], None]) -> dict[str, Any]:
            def work(self: Any, run: Any) -> str:
                forgetting.image("shop", 1)
                meanwhile()
                return "found"

            monkeypatch.setattr(type(task), "work", work)
            task.push_request(id="t")
            try:
                return task._run(message, here)
            except ObjectMissing as error:
                return task._fail(message, error, here)
            finally:
                task.pop_request()
                assert parked == []

        return at_work

    def test_takes_back_what_it_has_just_written(self, run: Any, stores: Stores) -> None:
        def save() -> None:
            stores.vectors.save_image("m", "picture", "shop", 1, np.ones(4))

        assert run(save) == {"outcome": "superseded"}
        assert left(stores) == {}

    def test_does_not_park_that_the_object_went_from_under_it(
        self, run: Any, stores: Stores
    ) -> None:
        def read() -> None:
            raise ObjectMissing("gone")

        assert run(read) == {"outcome": "superseded"}
        assert left(stores) == {}


class TestCommand:
    @pytest.fixture
    def forget(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
        monkeypatch.setenv("JUSTLENS_DATA_DIR", str(tmp_path))
        settings.cache_clear()
        yield lambda *words, **options: CliRunner().invoke(
            command_line, ["forget", *words], **options
        )
        settings.cache_clear()

    @pytest.fixture(autouse=True)
    def image(self, hang: Callable[..., None], stores: Stores) -> None:
        hang(1)
        stores.documents.save_businesses([Business(docid="shop", name="Corner")])
        stores.documents.drop_dead_letter(letter_key("shop", 1))

    def test_asks_before_it_forgets(self, forget: Any, stores: Stores) -> None:
        refused = forget("shop", input="n\n")
        assert refused.exit_code == 1
        assert "the business shop (Corner) and its 1 images" in refused.output
        assert left(stores)
        agreed = forget("shop", "1", input="y\n")
        assert "1 images, 2 vectors, 1 alt texts, 2 objects, 2 facts" in " ".join(
            agreed.output.split()
        )
        assert left(stores) == {}

    def test_prints_counts_for_programs_and_asks_them_nothing(
        self, forget: Any, stores: Stores
    ) -> None:
        assert "--yes" in str(forget("shop", "--json").exception)
        counts = json.loads(forget("shop", "--json", "--yes").stdout)
        assert (counts["businesses"], counts["images"], counts["objects"]) == (1, 1, 2)
        assert json.loads(forget("shop", "--json", "--yes").stdout)["images"] == 0

    def test_knows_what_there_is_not(self, forget: Any) -> None:
        assert "no business 'nobody'" in str(forget("nobody", "--yes").exception)
        assert "no image 404" in str(forget("shop", "404", "--yes").exception)


def _away(*_: object, **__: object) -> None:
    raise StoreUnavailable("the store is away")
