"""The task graph of one image."""

from typing import Any

import pytest
from celery import Celery
from celery.canvas import Signature, _chain, _chord, group
from kombu.transport.native_delayed_delivery import calculate_routing_key

from pipeline.graph import STEPS, graph, image_of, message_for, next_stage, stage_behind
from pipeline.joins import join_backend
from pipeline.queues import Lane, Stage, lane_queue, queue_of
from pipeline.records import CatalogueImage, ImageMetadata, StageRecord

IMAGE = CatalogueImage(docid="shop", product_id=7, generation=3, force=True)


def canvas(start: Stage, lane: Lane = Lane.INTERACTIVE) -> Signature:
    return graph(Celery("test"), message_for(IMAGE), start, lane)


def steps(found: Any) -> list[list[Signature]]:
    """The tasks of a canvas: those of one inner list run side by side."""
    if isinstance(found, _chain):
        return [step for task in found.tasks for step in steps(task)]
    if isinstance(found, _chord):
        return [list(found.tasks), *steps(found.body)]
    if isinstance(found, group):
        return [list(found.tasks)]
    return [[found]]


def ended(*stages: Stage, outcome: str = "done") -> ImageMetadata:
    records = {stage.value: StageRecord(key="k", outcome=outcome, ended_at=1.0) for stage in stages}
    return ImageMetadata(docid="shop", product_id=7, generation=3, stages=records)


@pytest.mark.parametrize("start", list(Stage))
def test_a_graph_has_the_stages_from_its_start_on(start: Stage) -> None:
    found = [[task.task for task in step] for step in steps(canvas(start))]
    first = next(index for index, step in enumerate(STEPS) if start in step)
    assert found == [[stage.value for stage in step] for step in STEPS[first:]]


@pytest.mark.parametrize("start", [Stage.TAG, Stage.DESCRIBE])
def test_scores_wait_for_both_tags_and_description(start: Stage) -> None:
    found = canvas(start)
    assert isinstance(found, _chord)
    assert len(found.tasks) == 2


def test_nothing_of_a_graph_that_was_sent_is_kept() -> None:
    backend = join_backend("redis://127.0.0.1:1/0")
    app = Celery("test", broker="memory://", backend=backend, set_as_current=False)
    app.conf.task_ignore_result = True
    for _ in range(3):
        graph(app, message_for(IMAGE), Stage.ENHANCE, Lane.BULK).apply_async()
    assert [len(kept) for kept in app.backend._pending_results] == [0, 0]


@pytest.mark.parametrize("lane", list(Lane))
def test_every_task_of_a_graph_travels_in_its_lane(lane: Lane) -> None:
    tasks = [task for step in steps(canvas(Stage.ENHANCE, lane)) for task in step]
    assert len(tasks) == len(Stage)
    assert {queue_of(task.options["queue"])[1] for task in tasks} == {lane}


@pytest.mark.parametrize("lane", list(Lane))
def test_a_queue_and_its_lane_are_read_off_a_routing_key_with_or_without_delay(lane: Lane) -> None:
    name = lane_queue("image_tag_process", lane)
    assert queue_of(name) == ("image_tag_process", lane)
    assert queue_of(calculate_routing_key(77, name)) == ("image_tag_process", lane)


def test_what_a_task_shows_names_its_image() -> None:
    shown = {task.options["argsrepr"] for step in steps(canvas(Stage.TAG)) for task in step}
    assert {image_of(text) for text in shown} == {("shop", 7)}
    assert image_of("[]") is None


def test_every_task_goes_to_the_queue_of_its_name() -> None:
    for task in (task for step in steps(canvas(Stage.ENHANCE)) for task in step):
        assert task.options["queue"] == task.task


def test_every_task_is_given_the_same_message_and_nothing_of_the_one_before() -> None:
    for task in (task for step in steps(canvas(Stage.ENHANCE)) for task in step):
        assert task.immutable
        assert tuple(task.args) == (message_for(IMAGE).encode(),)


def test_a_message_says_which_generation_of_which_image() -> None:
    message = message_for(IMAGE)
    assert (message.docid, message.product_id, message.generation) == ("shop", 7, 3)
    assert message.force
    assert message.correlation_id == IMAGE.correlation_id


def test_behind_a_stage_is_the_one_that_waits_for_nothing_else() -> None:
    assert {stage: stage_behind(stage) for stage in Stage} == {
        Stage.ENHANCE: Stage.UPDATE,
        Stage.UPDATE: Stage.TAG,
        Stage.TAG: None,
        Stage.DESCRIBE: None,
        Stage.SCORE: Stage.ALT_TEXT,
        Stage.ALT_TEXT: None,
    }


def test_an_image_without_records_begins_with_the_first_stage() -> None:
    assert next_stage(None) is Stage.ENHANCE
    assert next_stage(ended()) is Stage.ENHANCE


@pytest.mark.parametrize("count", range(1, len(Stage)))
def test_the_next_stage_is_the_first_without_a_record(count: int) -> None:
    order = list(Stage)
    assert next_stage(ended(*order[:count])) is order[count]


def test_a_stage_that_was_missed_is_next_though_later_ones_have_ended() -> None:
    assert next_stage(ended(Stage.ENHANCE, Stage.UPDATE, Stage.DESCRIBE)) is Stage.TAG


def test_a_stage_that_ended_badly_has_ended() -> None:
    assert next_stage(ended(Stage.ENHANCE, outcome="failed")) is Stage.UPDATE


def test_after_the_last_stage_nothing_is_next() -> None:
    assert next_stage(ended(*Stage)) is None
