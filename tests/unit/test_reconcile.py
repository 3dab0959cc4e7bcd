"""Images whose next stage has not begun for a while."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from pipeline.errors import BrokerUnavailable
from pipeline.queues import QUEUES, Stage
from pipeline.reconcile import UNSENT_AFTER, reconcile, send_lost
from pipeline.records import CatalogueImage, ImageState, StageRecord
from pipeline.settings import Settings
from pipeline.stores.documents_sqlite import SqliteDocuments
from tests.shops import Outbox

SETTINGS = Settings(stuck_after=60.0)
NOW = time.time()
LONG_AGO = NOW - 1000
NOTHING_WAITS = dict.fromkeys(QUEUES, 0)


@pytest.fixture
def documents(tmp_path: Path) -> Iterator[SqliteDocuments]:
    store = SqliteDocuments(f"sqlite:///{tmp_path}/documents.db")
    yield store
    store.close()


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


def lay(
    documents: SqliteDocuments,
    product_id: int,
    state: ImageState,
    *ended: Stage,
    moved_at: float = LONG_AGO,
) -> None:
    """An image in a state, with the records of the stages that have ended."""
    row = CatalogueImage(docid="shop", product_id=product_id, sha256=f"{product_id:064x}")
    documents.accept_image(row)
    records = {
        f"stages.{stage.value}": StageRecord(key="k", outcome="done", ended_at=1.0).model_dump()
        for stage in ended
    }
    if records:
        assert documents.patch_metadata("shop", product_id, 1, records)
    assert documents.update_image("shop", product_id, 1, {"state": state, "moved_at": moved_at})


def sent(outbox: Outbox) -> list[tuple[int, Stage]]:
    return [(image.product_id, start) for image, start in outbox.sent]


def state(documents: SqliteDocuments, product_id: int) -> ImageState:
    row = documents.image("shop", product_id)
    assert row is not None
    return row.state


def test_an_accepted_image_was_never_sent_and_is_sent(
    documents: SqliteDocuments, outbox: Outbox
) -> None:
    lay(documents, 1, ImageState.ACCEPTED)
    backlog = dict.fromkeys(QUEUES, 50)
    assert reconcile(documents, outbox, backlog, SETTINGS, NOW) == 1
    assert sent(outbox) == [(1, Stage.ENHANCE)]
    assert state(documents, 1) is ImageState.QUEUED


def test_a_row_without_a_message_is_sent_within_a_minute_whatever_else_waits(
    documents: SqliteDocuments, outbox: Outbox
) -> None:
    longest = UNSENT_AFTER + Settings().reconcile_every
    assert longest < 60
    for number in range(2, 510):
        lay(documents, number, ImageState.QUEUED)
    lay(documents, 1, ImageState.ACCEPTED, moved_at=NOW - longest)
    assert reconcile(documents, outbox, dict.fromkeys(QUEUES, 50), SETTINGS, NOW) == 1
    assert sent(outbox) == [(1, Stage.ENHANCE)]


def test_an_image_that_was_sent_is_not_sent_again_at_once(
    documents: SqliteDocuments, outbox: Outbox
) -> None:
    lay(documents, 1, ImageState.ACCEPTED)
    reconcile(documents, outbox, NOTHING_WAITS, SETTINGS, NOW)
    assert reconcile(documents, outbox, NOTHING_WAITS, SETTINGS, NOW) == 0


def test_a_queued_image_with_a_backlog_before_it_is_left_alone(
    documents: SqliteDocuments, outbox: Outbox
) -> None:
    lay(documents, 1, ImageState.QUEUED, Stage.ENHANCE, Stage.UPDATE)
    for stage in (Stage.TAG, Stage.DESCRIBE):
        depths = {**NOTHING_WAITS, stage.value: 1}
        assert reconcile(documents, outbox, depths, SETTINGS, NOW) == 0
    assert outbox.sent == []


def test_an_image_that_a_worker_is_at_for_long_is_left_alone(
    documents: SqliteDocuments, outbox: Outbox
) -> None:
    lay(documents, 1, ImageState.QUEUED, Stage.ENHANCE, Stage.UPDATE)
    lay(documents, 2, ImageState.QUEUED, Stage.ENHANCE, Stage.UPDATE)
    assert reconcile(documents, outbox, NOTHING_WAITS, SETTINGS, NOW, lambda: {("shop", 1)}) == 1
    assert sent(outbox) == [(2, Stage.TAG)]


def test_an_image_that_is_sent_again_is_counted_by_the_stage_that_it_waited_for(
    documents: SqliteDocuments, outbox: Outbox
) -> None:
    def joins() -> float:
        labels = {"stage": Stage.SCORE.value}
        return REGISTRY.get_sample_value("justlens_images_sent_again_total", labels) or 0.0

    before = joins()
    lay(documents, 1, ImageState.QUEUED, Stage.ENHANCE, Stage.UPDATE, Stage.TAG, Stage.DESCRIBE)
    lay(documents, 2, ImageState.QUEUED, Stage.ENHANCE, Stage.UPDATE, Stage.TAG)
    assert reconcile(documents, outbox, NOTHING_WAITS, SETTINGS, NOW) == 2
    assert joins() == before + 1


def test_a_queued_image_whose_queue_is_empty_is_sent_from_where_it_was(
    documents: SqliteDocuments, outbox: Outbox
) -> None:
    lay(documents, 1, ImageState.QUEUED, Stage.ENHANCE, Stage.UPDATE)
    elsewhere = {**NOTHING_WAITS, Stage.ENHANCE.value: 50, Stage.SCORE.value: 50}
    assert reconcile(documents, outbox, elsewhere, SETTINGS, NOW) == 1
    assert sent(outbox) == [(1, Stage.TAG)]


def test_an_image_whose_last_stage_ended_without_saying_so_runs_it_again(
    documents: SqliteDocuments, outbox: Outbox
) -> None:
    lay(documents, 1, ImageState.QUEUED, *Stage)
    reconcile(documents, outbox, NOTHING_WAITS, SETTINGS, NOW)
    assert sent(outbox) == [(1, Stage.ALT_TEXT)]


def test_what_moved_a_moment_ago_or_has_ended_is_left_alone(
    documents: SqliteDocuments, outbox: Outbox
) -> None:
    lay(documents, 1, ImageState.QUEUED, moved_at=NOW - 59)
    lay(documents, 2, ImageState.ACCEPTED, moved_at=NOW - 19)
    lay(documents, 3, ImageState.DONE)
    lay(documents, 4, ImageState.FAILED)
    lay(documents, 5, ImageState.QUEUED)
    documents.delete_image("shop", 5)
    assert reconcile(documents, outbox, NOTHING_WAITS, SETTINGS, NOW) == 0


def test_with_the_broker_down_an_image_stays_as_it_is(
    documents: SqliteDocuments, outbox: Outbox
) -> None:
    lay(documents, 1, ImageState.ACCEPTED)
    outbox.is_down = True
    with pytest.raises(BrokerUnavailable):
        reconcile(documents, outbox, NOTHING_WAITS, SETTINGS, NOW)
    assert state(documents, 1) is ImageState.ACCEPTED


def test_after_a_lost_worker_only_images_without_a_message_are_sent(
    documents: SqliteDocuments, outbox: Outbox
) -> None:
    lay(documents, 1, ImageState.QUEUED, Stage.ENHANCE)
    lay(documents, 2, ImageState.QUEUED)
    lay(documents, 3, ImageState.ACCEPTED)
    lay(documents, 4, ImageState.DONE)
    assert send_lost(documents, outbox, {("shop", 2)}) == 1
    assert sent(outbox) == [(1, Stage.UPDATE)]
