"""What a row says of the place of its image while stages run."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from pipeline.messages import ImageMessage
from pipeline.queues import Stage
from pipeline.records import CatalogueImage, ImageState
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores
from tasks.right_of_way import RightOfWay
from tasks.stage import Run, StageTask

KEY = ("shop", 7)
STUCK_AFTER = 60.0


class Place:
    """A row, a stage that runs for it, and what the row said amid its work."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        settings = SimpleNamespace(stuck_after=STUCK_AFTER)
        self.here: Any = SimpleNamespace(
            stores=stores, settings=settings, right_of_way=RightOfWay()
        )
        self.amid: CatalogueImage | None = None

    def row(self) -> CatalogueImage:
        row = self.stores.documents.image(*KEY)
        assert row is not None
        return row

    def run(self, stage: Stage, said: Mapping[str, Any] | None = None) -> CatalogueImage:
        """What the row says after a run of ``stage`` for an image whose row ``said`` so before."""
        self.stores.documents.update_image(*KEY, 1, said or {})
        task = self._task(stage)
        task.push_request(id="message")
        try:
            task._run(ImageMessage(docid="shop", product_id=7, generation=1), self.here)
        finally:
            task.pop_request()
        return self.row()

    def _task(self, of: Stage) -> StageTask:
        look: Callable[[], CatalogueImage] = self.row

        class Noting(StageTask):
            name = of.value
            stage = of

            def inputs(self, run: Run) -> tuple[Any, ...]:
                return ("nothing",)

            def work(self, run: Run) -> str:
                self_of_test.amid = look()
                return "done"

        self_of_test = self
        task: StageTask = Celery("test", set_as_current=False).register_task(Noting())
        return task


@pytest.fixture
def place(tmp_path: Path):
    stores = open_stores(Settings(data_dir=tmp_path))
    stores.documents.accept_image(CatalogueImage(docid="shop", product_id=7, sha256="a"))
    yield Place(stores)
    stores.close()


def test_the_end_of_a_stage_says_which_one_is_next(place: Place) -> None:
    row = place.run(Stage.ENHANCE)
    assert (row.state, row.stage) == (ImageState.QUEUED, Stage.UPDATE)
    assert place.amid is not None and place.amid.stage is Stage.ENHANCE
    before = row
    row = place.run(Stage.UPDATE)
    assert place.amid == before, "it was known, and not said again"
    assert (row.state, row.stage) == (ImageState.QUEUED, Stage.TAG)
    assert row.moved_at > before.moved_at


def test_stages_side_by_side_are_at_one_place(place: Place) -> None:
    before = place.run(Stage.UPDATE)
    for stage in (Stage.DESCRIBE, Stage.TAG):
        assert place.run(stage).stage is Stage.TAG
        assert place.amid is not None and place.amid.stage is before.stage
    place.run(Stage.SCORE)
    assert place.amid.stage is Stage.SCORE


@pytest.mark.parametrize(
    "said",
    [
        {"moved_at": time.time() - STUCK_AFTER / 2},
        {"state": ImageState.ACCEPTED},
        {"state": ImageState.FAILED},
        {"stage": Stage.ENHANCE},
    ],
)
def test_a_stage_says_where_the_image_is_unless_that_is_known_and_recent(
    place: Place, said: dict[str, Any]
) -> None:
    began = time.time()
    known = {"state": ImageState.QUEUED, "stage": Stage.SCORE, "moved_at": began}
    place.run(Stage.SCORE, {**known, **said})
    assert place.amid is not None
    assert (place.amid.state, place.amid.stage) == (ImageState.QUEUED, Stage.SCORE)
    assert place.amid.moved_at >= began
