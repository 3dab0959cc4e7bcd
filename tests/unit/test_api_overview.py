"""The figures of the operations view, over HTTP."""

import time

import pytest
from fastapi.testclient import TestClient

from api.wiring import Services
from pipeline.dead_letters import Parking, letter_from
from pipeline.errors import StoreUnavailable
from pipeline.queues import Stage
from pipeline.records import StageRecord
from tests.shops import Outbox

TAG = Stage.TAG.value


def run(services: Services, product_id: int, stage: Stage, seconds: float, outcome: str) -> None:
    """Let a stage have ended for a photo of the café, which is done just now."""
    record = StageRecord(key="k", outcome=outcome, ended_at=1.0, seconds=seconds)
    patch = {f"stages.{stage.value}": record.model_dump(mode="json")}
    assert services.stores.documents.patch_metadata("cafe", product_id, 1, patch)


def finish(services: Services, product_id: int, minutes_ago: float) -> None:
    moved = {"moved_at": time.time() - 60 * minutes_ago}
    assert services.stores.documents.update_image("cafe", product_id, 1, moved)


def figures(writer: TestClient) -> dict:
    answer = writer.get("/v1/operations")
    assert answer.status_code == 200
    return answer.json()


def test_images_that_were_done_are_counted_by_minute(
    writer: TestClient, own_shops: Services
) -> None:
    for shop in ("cafe", "museum", "garage", "past"):
        for image in own_shops.stores.documents.images([shop]):
            hours_ago = {"moved_at": time.time() - 7200}
            own_shops.stores.documents.update_image(shop, image.product_id, 1, hours_ago)
    finish(own_shops, 101, minutes_ago=0.5)
    finish(own_shops, 102, minutes_ago=2.5)
    finish(own_shops, 103, minutes_ago=58.5)
    by_minute = figures(writer)["images"]["done_by_minute"]
    assert len(by_minute) == 60
    assert [60 - number for number, count in enumerate(by_minute) if count] == [59, 3, 1]
    assert sum(by_minute) == 3


def test_the_times_and_failures_of_stages_are_those_of_the_last_images(
    writer: TestClient, own_shops: Services
) -> None:
    for product_id, seconds in ((101, 1.0), (102, 3.0)):
        run(own_shops, product_id, Stage.DESCRIBE, seconds, "done")
    run(own_shops, 103, Stage.DESCRIBE, 0.0, "failed")
    stages = {one["stage"]: one for one in figures(writer)["images"]["stages"]}
    assert list(stages) == [stage.value for stage in Stage]
    assert stages[Stage.DESCRIBE] == {
        "stage": Stage.DESCRIBE,
        "images": 3,
        "failed": 1,
        "median_seconds": 2.0,
        "p95_seconds": 3.0,
    }
    assert stages[Stage.SCORE]["images"] == 0
    assert stages[Stage.SCORE]["median_seconds"] is None


def test_what_waits_is_told_by_queue_and_lane(writer: TestClient, outbox: Outbox) -> None:
    outbox.waiting = {(TAG, "interactive"): 3, (TAG, "bulk"): 500, ("error.unrouted", "all"): 2}
    outbox.error_queues.park(f"error.{TAG}", {"key": "k"})
    broker = figures(writer)["broker"]
    tag = next(queue for queue in broker["queues"] if queue["queue"] == TAG)
    assert tag == {"queue": TAG, "interactive": 3, "bulk": 500, "errors": 1}
    assert broker["unrouted"] == 2


def test_dead_letters_are_counted_by_cause_most_first(
    writer: TestClient, own_shops: Services, outbox: Outbox
) -> None:
    parking = Parking(own_shops.stores.documents, outbox.error_queues.park)
    for number, error in enumerate((KeyError("k"), ValueError("a"), ValueError("b"))):
        letter = letter_from(queue=TAG, task=TAG, task_id=str(number), error=error, args=[])
        parking.park(letter, ends_image=False)
    causes = figures(writer)["images"]["dead_letters"]
    assert [(one["queue"], one["exception"], one["count"]) for one in causes] == [
        (TAG, "ValueError", 2),
        (TAG, "KeyError", 1),
    ]
    assert all(one["advice"] for one in causes)


def test_workers_that_answer_are_named_with_their_queues(
    writer: TestClient, outbox: Outbox
) -> None:
    outbox.answering = {"gpu@here": [TAG, f"{TAG}.bulk"]}
    before = time.time()
    (worker,) = figures(writer)["workers"]
    assert (worker["name"], worker["queues"]) == ("gpu@here", [TAG, f"{TAG}.bulk"])
    assert worker["seen_at"] >= before


def test_without_a_broker_the_rest_is_told_and_what_is_wrong(
    writer: TestClient, outbox: Outbox
) -> None:
    outbox.is_down = True
    found = figures(writer)
    assert found["broker"] is None
    assert found["workers"] is None
    assert found["images"]["done_by_minute"]
    assert found["readiness"]["status"] == "missing"
    assert "no one is there" in found["readiness"]["checks"]["broker"]
    assert found["readiness"]["checks"]["documents"] == "ok"


@pytest.mark.parametrize("answers_the_check", [True, False])
def test_without_documents_the_queues_are_told_and_what_is_wrong(
    writer: TestClient,
    own_shops: Services,
    monkeypatch: pytest.MonkeyPatch,
    answers_the_check: bool,
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("the store is away")

    documents = own_shops.stores.documents
    monkeypatch.setattr(documents, "finished_images", away)
    if not answers_the_check:
        monkeypatch.setattr(documents, "check", away)
    found = figures(writer)
    assert found["images"] is None
    assert len(found["broker"]["queues"]) == 8
    assert found["readiness"]["checks"]["documents"] == "the store is away"
    assert found["readiness"]["checks"]["broker"] == "ok"
