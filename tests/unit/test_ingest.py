"""Taking photos in: object, row, message, in that order."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import BrokerUnavailable, InvalidMessage, StoreUnavailable
from pipeline.graph import message_for
from pipeline.ingest import Intake
from pipeline.messages import ImageJob
from pipeline.queues import Lane, Stage
from pipeline.records import Business, CatalogueImage, Category, ImageState
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores
from tests.pictures import encoded, plain
from tests.shops import Outbox

PHOTO = encoded(plain())
OTHER = encoded(plain((200, 100, 50)))
JOB = ImageJob(docid="shop", product_id=1, product_url="https://a.example/b.jpg")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, max_bytes=100_000)


@pytest.fixture
def stores(settings: Settings) -> Iterator[Stores]:
    opened = open_stores(settings)
    yield opened
    opened.close()


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def intake(stores: Stores, settings: Settings, outbox: Outbox) -> Intake:
    return Intake(stores, settings, outbox)


def row(stores: Stores) -> CatalogueImage:
    found = stores.documents.image("shop", 1)
    assert found is not None
    return found


def test_when_the_message_is_sent_the_object_and_the_row_are_there(
    stores: Stores, settings: Settings
) -> None:
    found = []

    def look(image: CatalogueImage, start: Stage) -> None:
        found.append((stores.objects.get(image.original_key), row(stores).state, start))

    receipt = Intake(stores, settings, look).accept_bytes("shop", 1, PHOTO, name="a.png")
    assert found == [(PHOTO, ImageState.ACCEPTED, Stage.ENHANCE)]
    assert receipt.queued
    assert receipt.state is row(stores).state is ImageState.QUEUED


def test_without_the_object_there_is_neither_row_nor_message(
    stores: Stores, intake: Intake, outbox: Outbox, tmp_path: Path
) -> None:
    (tmp_path / "objects").write_text("a file where the folder would be")
    with pytest.raises(StoreUnavailable):
        intake.accept_bytes("shop", 1, PHOTO)
    assert stores.documents.image("shop", 1) is None
    assert outbox.sent == []


def test_a_row_says_what_came_in(stores: Stores, intake: Intake) -> None:
    intake.accept_bytes("shop", 1, PHOTO, name="a.png", force=True, lane=Lane.BULK)
    found = row(stores)
    assert (found.name, found.size, found.content_type) == ("a.png", len(PHOTO), "image/png")
    assert (found.force, found.lane) == (True, Lane.BULK)
    assert found.sha256 in found.original_key


def test_the_same_photo_again_is_no_work(intake: Intake, outbox: Outbox, stores: Stores) -> None:
    first = intake.accept_bytes("shop", 1, PHOTO)
    again = intake.accept_bytes("shop", 1, PHOTO)
    assert not again.queued
    assert (again.generation, again.correlation_id) == (1, first.correlation_id)
    assert len(outbox.sent) == 1
    assert len(list(stores.objects.keys("originals/"))) == 1


def test_another_photo_under_the_same_id_is_the_next_generation(
    intake: Intake, outbox: Outbox
) -> None:
    intake.accept_bytes("shop", 1, PHOTO)
    assert intake.accept_bytes("shop", 1, OTHER).generation == 2
    assert [image.generation for image, _ in outbox.sent] == [1, 2]


def test_with_the_broker_down_a_photo_stays_accepted_and_the_same_call_sends_it(
    intake: Intake, outbox: Outbox, stores: Stores
) -> None:
    outbox.is_down = True
    with pytest.raises(BrokerUnavailable):
        intake.accept_bytes("shop", 1, PHOTO)
    assert row(stores).state is ImageState.ACCEPTED
    assert stores.objects.get(row(stores).original_key) == PHOTO
    outbox.is_down = False
    receipt = intake.accept_bytes("shop", 1, PHOTO)
    assert (receipt.queued, receipt.generation) == (True, 1)
    assert row(stores).state is ImageState.QUEUED


def test_a_worker_that_is_faster_than_the_intake_is_not_overwritten(
    stores: Stores, settings: Settings
) -> None:
    def work(image: CatalogueImage, start: Stage) -> None:
        stores.documents.update_image("shop", 1, image.generation, {"state": ImageState.DONE})

    Intake(stores, settings, work).accept_bytes("shop", 1, PHOTO)
    assert row(stores).state is ImageState.DONE


def test_a_file_that_is_too_large_leaves_nothing_behind(intake: Intake, stores: Stores) -> None:
    with pytest.raises(InvalidMessage, match="100001 bytes, the limit is 100000"):
        intake.accept_bytes("shop", 1, bytes(100_001))
    assert stores.documents.image("shop", 1) is None
    assert list(stores.objects.keys()) == []


def test_a_photo_can_come_by_its_address(intake: Intake, stores: Stores, outbox: Outbox) -> None:
    assert intake.accept_job(JOB, lane=Lane.BULK).queued
    assert (row(stores).url, row(stores).sha256) == ("https://a.example/b.jpg", "")
    assert not intake.accept_job(JOB).queued
    assert len(outbox.sent) == 1


def test_an_unknown_image_needs_an_address(intake: Intake, outbox: Outbox) -> None:
    with pytest.raises(InvalidMessage, match="needs an address"):
        intake.accept_job(JOB.model_copy(update={"product_url": ""}), start=Stage.SCORE)
    assert outbox.sent == []


def test_a_known_image_runs_again_from_the_stage_asked_for(
    intake: Intake, stores: Stores, outbox: Outbox
) -> None:
    intake.accept_bytes("shop", 1, PHOTO)
    failed = {"state": ImageState.FAILED, "failure": "no luck"}
    stores.documents.update_image("shop", 1, 1, failed)
    receipt = intake.accept_job(JOB.model_copy(update={"product_url": ""}), start=Stage.SCORE)
    assert receipt.generation == 1
    assert outbox.sent[-1][1] is Stage.SCORE
    assert (row(stores).state, row(stores).failure) == (ImageState.QUEUED, "")


def test_a_prompt_goes_from_the_job_into_the_row_and_the_message(
    intake: Intake, stores: Stores, outbox: Outbox
) -> None:
    intake.accept_job(JOB.model_copy(update={"prompt_name": "full_details"}))
    assert row(stores).prompt_name == "full_details"
    assert message_for(outbox.sent[-1][0]).prompt_name == "full_details"


def test_a_known_image_is_asked_by_another_prompt_and_keeps_it(
    intake: Intake, stores: Stores, outbox: Outbox
) -> None:
    intake.accept_bytes("shop", 1, PHOTO)
    for named, kept in (("alt_text", "alt_text"), ("", "alt_text")):
        job = JOB.model_copy(update={"product_url": "", "prompt_name": named})
        intake.accept_job(job, start=Stage.DESCRIBE)
        assert row(stores).prompt_name == kept
        assert message_for(outbox.sent[-1][0]).prompt_name == kept


def test_another_photo_takes_the_objects_of_the_earlier_one_away(
    intake: Intake, stores: Stores
) -> None:
    intake.accept_bytes("shop", 1, PHOTO)
    intake.accept_bytes("shop", 2, PHOTO)
    stores.documents.save_pixel_fact(row(stores).sha256, "text", "m", {"text": ""})
    earlier = row(stores)
    intake.accept_bytes("shop", 1, OTHER)
    # The second image has the same bytes.
    assert stores.objects.exists(earlier.original_key)
    assert stores.documents.pixel_facts(earlier.sha256)
    intake.accept_bytes("shop", 2, OTHER)
    assert list(stores.objects.keys()) == [row(stores).original_key]
    assert stores.documents.pixel_facts(earlier.sha256) == []


def test_an_object_that_is_taken_away_while_its_photo_comes_in_is_put_back(
    intake: Intake, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept_image = stores.documents.accept_image

    def accepted_late(image: CatalogueImage) -> tuple[CatalogueImage, bool]:
        stores.objects.delete(image.original_key)
        return accept_image(image)

    monkeypatch.setattr(stores.documents, "accept_image", accepted_late)
    intake.accept_bytes("shop", 1, PHOTO)
    assert stores.objects.get(row(stores).original_key) == PHOTO


def test_a_business_is_known_with_its_categories(intake: Intake, stores: Stores) -> None:
    categories = [Category(catid=2, name="Bars", is_hot=True), Category(catid=1, name="Cafés")]
    intake.save_business(Business(docid="shop", name="Corner"), categories)
    assert stores.documents.businesses(["shop"])["shop"].name == "Corner"
    assert stores.directory.categories(["shop"]) == {"shop": categories}
