"""Dead letters over HTTP."""

import time

import pytest
from fastapi.testclient import TestClient

from api.wiring import Services
from pipeline.dead_letters import Parking, letter_from
from pipeline.queues import Stage
from tests.shops import Outbox

TAG, SCORE = Stage.TAG.value, Stage.SCORE.value


@pytest.fixture(autouse=True)
def parked(own_shops: Services, outbox: Outbox) -> list[str]:
    """The keys of three dead letters, the oldest an hour old."""
    image = own_shops.stores.documents.images(["cafe"])[0]
    body = {
        "docid": image.docid,
        "product_id": image.product_id,
        "generation": image.generation,
    }
    parking = Parking(own_shops.stores.documents, outbox.error_queues.park)
    keys = []
    for number, (queue, error) in enumerate(
        ((TAG, ValueError("old")), (TAG, ValueError("new")), (SCORE, KeyError("k")))
    ):
        letter = letter_from(queue=queue, task=queue, task_id=str(number), error=error, args=[body])
        age = 3600.0 if number == 0 else 0.0
        parking.park(letter.model_copy(update={"last_at": time.time() - age}), ends_image=True)
        keys.append(letter.key)
    return keys


def keys_of(answer: dict) -> list[str]:
    return [letter["key"] for letter in answer["letters"]]


def test_all_are_listed_newest_first_with_counts_by_cause(
    writer: TestClient, parked: list[str]
) -> None:
    answer = writer.get("/v1/dead_letters").json()
    assert set(keys_of(answer)[:2]) == {parked[1], parked[2]}
    assert keys_of(answer)[2] == parked[0]
    counted = {(one["queue"], one["exception"]): one["count"] for one in answer["causes"]}
    assert counted == {(TAG, "ValueError"): 2, (SCORE, "KeyError"): 1}
    assert all(one["advice"] for one in answer["causes"])


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"queue": TAG}, {0, 1}),
        ({"exception": "KeyError"}, {2}),
        ({"older_than": 60}, {0}),
        ({"newer_than": 60}, {1, 2}),
        ({"newer_than": 7200, "older_than": 60}, {0}),
        ({"docid": "nobody"}, set()),
    ],
)
def test_they_are_found_and_counted_by_queue_cause_business_and_age(
    writer: TestClient, parked: list[str], filters: dict, found: set[int]
) -> None:
    answer = writer.get("/v1/dead_letters", params=filters).json()
    assert set(keys_of(answer)) == {parked[number] for number in found}
    assert sum(cause["count"] for cause in answer["causes"]) == len(found)


def test_the_counts_do_not_end_where_the_list_does(writer: TestClient, parked: list[str]) -> None:
    answer = writer.get("/v1/dead_letters", params={"queue": TAG, "limit": 1}).json()
    assert keys_of(answer) == [parked[1]]
    assert [one["count"] for one in answer["causes"]] == [2]


def test_one_is_shown_with_its_traceback(writer: TestClient, parked: list[str]) -> None:
    answer = writer.get(f"/v1/dead_letters/{parked[0]}").json()
    assert answer["message"] == "old"
    assert "ValueError: old" in answer["traceback"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_key_that_nothing_is_parked_under_is_not_found(writer: TestClient, method: str) -> None:
    answer = writer.request(method, "/v1/dead_letters/image_tag_process/none")
    assert answer.status_code == 404
    assert "image_tag_process/none" in answer.json()["detail"]


def test_those_named_are_sent_again_and_go(
    writer: TestClient, outbox: Outbox, parked: list[str]
) -> None:
    answer = writer.post("/v1/dead_letters/replay", json={"keys": [parked[2], "none"]}).json()
    assert [(one["key"], one["outcome"]) for one in answer] == [(parked[2], "sent")]
    assert [start for _, start in outbox.sent] == [Stage.SCORE]
    assert set(outbox.error_queues.left()) == {parked[0], parked[1]}


def test_those_that_fit_are_sent_again(
    writer: TestClient, outbox: Outbox, parked: list[str]
) -> None:
    answer = writer.post("/v1/dead_letters/replay", json={"queue": TAG}).json()
    assert {one["key"] for one in answer} == {parked[0], parked[1]}
    assert outbox.error_queues.left() == [parked[2]]


def test_without_a_broker_nothing_goes(
    writer: TestClient, outbox: Outbox, parked: list[str]
) -> None:
    outbox.is_down = True
    answer = writer.post("/v1/dead_letters/replay", json={"keys": parked})
    assert answer.status_code == 503
    assert len(writer.get("/v1/dead_letters").json()["letters"]) == 3


def test_one_is_forgotten(writer: TestClient, outbox: Outbox, parked: list[str]) -> None:
    assert writer.delete(f"/v1/dead_letters/{parked[0]}").status_code == 204
    assert parked[0] not in outbox.error_queues.left()
    assert writer.get(f"/v1/dead_letters/{parked[0]}").status_code == 404


def test_those_named_are_forgotten_and_none_besides(
    writer: TestClient, outbox: Outbox, parked: list[str]
) -> None:
    answer = writer.post("/v1/dead_letters/drop", json={"keys": [parked[0], "none"]})
    assert answer.json() == {"dropped": 1}
    assert set(outbox.error_queues.left()) == {parked[1], parked[2]}
    assert writer.post("/v1/dead_letters/drop", json={"keys": []}).json() == {"dropped": 0}
    assert len(writer.get("/v1/dead_letters").json()["letters"]) == 2


def test_those_that_fit_are_forgotten(
    writer: TestClient, outbox: Outbox, parked: list[str]
) -> None:
    answer = writer.post("/v1/dead_letters/drop", json={"queue": TAG, "older_than": 60})
    assert answer.json() == {"dropped": 1}
    assert set(outbox.error_queues.left()) == {parked[1], parked[2]}
    assert outbox.sent == []


@pytest.mark.parametrize("body", [{}, {"limit": 10}])
def test_nothing_is_forgotten_unless_it_is_said_what(
    writer: TestClient, outbox: Outbox, parked: list[str], body: dict
) -> None:
    answer = writer.post("/v1/dead_letters/drop", json=body)
    assert answer.status_code == 422
    assert "say which" in answer.json()["detail"]
    assert len(outbox.error_queues.left()) == 3
