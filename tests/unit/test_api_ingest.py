"""The ingest API over HTTP, on stores of each test's own."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.wiring import Services
from pipeline.errors import StoreUnavailable
from pipeline.numbers import category_number
from pipeline.queues import Stage
from pipeline.records import ImageState
from tests.pictures import encoded, plain
from tests.shops import Outbox

PHOTO = encoded(plain((10, 200, 30), 320, 240))
JOB = {"docid": "cafe", "product_id": 900, "product_url": "https://example.org/a.jpg"}


def upload(client: TestClient, content: bytes = PHOTO, **fields: Any) -> Any:
    form = {"docid": "cafe", "product_id": 900, **fields}
    return client.post("/v1/images", data=form, files={"file": ("a.png", content)})


def push(client: TestClient, queue: str, message: dict[str, Any]) -> Any:
    body = {"data": {"queue_name": queue, "message": message}}
    return client.post("/v1/push_to_queue", json=body)


def test_an_upload_is_stored_and_sent(
    writer: TestClient, outbox: Outbox, own_shops: Services
) -> None:
    answer = upload(writer)
    assert answer.status_code == 202
    receipt = answer.json()
    assert (receipt["state"], receipt["queued"], receipt["generation"]) == ("queued", True, 1)
    ((image, start),) = outbox.sent
    assert (image.docid, image.product_id, start) == ("cafe", 900, Stage.ENHANCE)
    assert own_shops.stores.objects.get(image.original_key) == PHOTO


def test_the_same_photo_again_is_no_new_generation(writer: TestClient) -> None:
    first, second = upload(writer).json(), upload(writer).json()
    assert second["generation"] == first["generation"]


def test_another_photo_replaces_the_first(writer: TestClient) -> None:
    upload(writer)
    other = upload(writer, encoded(plain((200, 10, 30), 320, 240)))
    assert other.json()["generation"] == 2


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"docid": "two words"}, "body.docid"),
        ({"product_id": 0}, "body.product_id"),
        ({"image_type": "poster"}, "body.image_type"),
    ],
)
def test_an_upload_that_does_not_fit_names_the_field(
    writer: TestClient, outbox: Outbox, fields: dict[str, Any], named: str
) -> None:
    answer = upload(writer, **fields)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [named]
    assert outbox.sent == []


def test_an_empty_file_is_refused(writer: TestClient) -> None:
    assert upload(writer, b"").status_code == 422


def test_a_file_over_the_limit_is_refused(writer: TestClient, own_shops: Services) -> None:
    answer = upload(writer, bytes(own_shops.settings.max_bytes + 1))
    assert answer.status_code == 413
    assert str(own_shops.settings.max_bytes) in answer.json()["detail"]


@pytest.mark.parametrize("queue", [Stage.ENHANCE.value, "image_jobs"])
def test_a_job_pushed_to_a_queue_is_sent(writer: TestClient, outbox: Outbox, queue: str) -> None:
    answer = push(writer, queue, JOB)
    assert answer.status_code == 202
    assert answer.json()["queued"] is True
    ((image, start),) = outbox.sent
    assert (image.url, start) == (JOB["product_url"], Stage.ENHANCE)


def test_a_known_image_enters_the_graph_at_the_stage_of_the_queue(
    writer: TestClient, outbox: Outbox
) -> None:
    message = {"docid": "cafe", "product_id": 101, "product_url": ""}
    assert push(writer, Stage.SCORE.value, message).status_code == 202
    ((image, start),) = outbox.sent
    assert (image.product_id, start) == (101, Stage.SCORE)


@pytest.mark.parametrize(
    "queue", ["error.image_tag_process", "image_enhanced_products", "sbert_retraining", "nowhere"]
)
def test_queues_that_take_no_image_jobs_are_refused(
    writer: TestClient, outbox: Outbox, queue: str
) -> None:
    answer = push(writer, queue, JOB)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert queue in answer.json()["detail"]
    assert outbox.sent == []


def test_a_message_that_does_not_fit_names_every_field_at_fault(writer: TestClient) -> None:
    answer = push(writer, "image_jobs", {"docid": "", "product_url": "ftp://x", "extra": 1})
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert all(name in detail for name in ("docid", "product_id", "product_url", "extra"))


def test_the_way_of_an_image_can_be_followed(writer: TestClient) -> None:
    body = writer.get("/v1/images/cafe/101").json()
    assert (body["state"], body["failure"]) == ("done", "")
    stages = {stage["stage"]: stage for stage in body["stages"]}
    assert list(stages) == [stage.value for stage in Stage]
    assert stages["image_enhance_process"]["ended_at"] == 5.0
    assert stages["image_tag_process"]["ended_at"] is None


def test_a_parked_image_says_why(writer: TestClient, own_shops: Services) -> None:
    own_shops.stores.documents.update_image(
        "cafe", 101, 1, {"state": ImageState.FAILED, "failure": "not an image"}
    )
    body = writer.get("/v1/images/cafe/101").json()
    assert (body["state"], body["failure"]) == ("failed", "not an image")


def test_a_deleted_image_is_shown_no_more(writer: TestClient) -> None:
    forgotten = writer.delete("/v1/images/cafe/101").json()
    assert (forgotten["images"], forgotten["vectors"]) == (1, 2)
    cafe = writer.get("/v1/relevance/cafe").json()
    assert 101 not in [picture["product_id"] for picture in cafe["dynamic"]]
    assert writer.get("/v1/images/cafe/101").json()["state"] == "deleted"
    assert not any(writer.delete("/v1/images/cafe/101").json().values())


def test_a_business_goes_with_all_of_its_images(writer: TestClient, own_shops: Services) -> None:
    forgotten = writer.delete("/v1/businesses/garage").json()
    assert (forgotten["businesses"], forgotten["categories"], forgotten["images"]) == (1, 1, 4)
    assert writer.get("/v1/relevance/garage").status_code == 404
    assert own_shops.stores.documents.page({"garage": [4]})["garage"].images == []
    # The tombstones stay, and the call is safe to repeat.
    assert writer.get("/v1/images/garage/301").json()["state"] == "deleted"
    assert writer.delete("/v1/businesses/garage").status_code == 404
    assert writer.delete("/v1/businesses/nobody").status_code == 404


def test_images_that_are_not_known_are_not_found(writer: TestClient) -> None:
    assert writer.get("/v1/images/cafe/7").status_code == 404
    assert writer.delete("/v1/images/cafe/7").status_code == 404


def test_a_business_is_recorded_with_its_categories(writer: TestClient) -> None:
    business = {
        "name": "Bloom",
        "contract": {"contract_id": "c-1", "valid_until": 4e9},
        "categories": [{"catid": 70, "name": "Florists", "is_hot": True}],
    }
    answer = writer.put("/v1/businesses/bloom", json=business)
    assert answer.status_code == 200
    bloom = writer.get("/v1/relevance/bloom").json()
    assert bloom["name"] == "Bloom"
    assert bloom["categories"] == business["categories"]


def test_a_category_listed_twice_is_refused(writer: TestClient) -> None:
    twice = [{"catid": 1, "name": "A"}, {"catid": 1, "name": "B"}]
    answer = writer.put("/v1/businesses/bloom", json={"name": "Bloom", "categories": twice})
    assert answer.status_code == 422
    assert writer.get("/v1/relevance/bloom").status_code == 404


def test_without_a_broker_the_client_is_told_to_come_again(
    writer: TestClient, outbox: Outbox, own_shops: Services
) -> None:
    outbox.is_down = True
    answer = upload(writer)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["type"] == "urn:justlens:problem:the-broker-is-not-available"
    # Nothing is lost: the row waits for the reconciler, or for the same upload again.
    row = own_shops.stores.documents.image("cafe", 900)
    assert row is not None
    assert row.state is ImageState.ACCEPTED
    outbox.is_down = False
    assert upload(writer).json()["queued"] is True


@pytest.mark.parametrize(
    ("store", "method"),
    [("objects", "put"), ("documents", "accept_image"), ("documents", "update_image")],
)
def test_without_a_store_nothing_is_promised_and_the_same_request_again_is_harmless(
    writer: TestClient,
    outbox: Outbox,
    own_shops: Services,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
    method: str,
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(getattr(own_shops.stores, store), method, away)
        for _ in range(2):
            answer = upload(writer)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert "the store is away" in answer.json()["detail"]
    answer = upload(writer)
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert {(image.product_id, image.generation) for image, _ in outbox.sent} == {(900, 1)}
    assert upload(writer).json()["queued"] is False


def test_a_photo_without_an_id_is_given_one_by_its_bytes(writer: TestClient) -> None:
    first, again = (upload(writer, product_id="").json() for _ in range(2))
    other = upload(writer, encoded(plain((200, 10, 30), 320, 240)), product_id="").json()
    assert first["product_id"] == again["product_id"] != other["product_id"]
    assert first["generation"] == again["generation"] == 1
    assert writer.get(f"/v1/images/cafe/{first['product_id']}").status_code == 200


def test_a_category_without_an_id_is_given_one_by_its_name(writer: TestClient) -> None:
    entry = {"name": "Tea House", "categories": [{"name": "Coffee Shops"}, {"name": "Tea"}]}
    saved = writer.put("/v1/businesses/tea", json=entry).json()
    assert saved["categories"][0]["catid"] == category_number("coffee shops")
    twice = {"name": "Tea House", "categories": [{"name": "Tea"}, {"name": "tea "}]}
    assert writer.put("/v1/businesses/tea", json=twice).status_code == 422


def test_businesses_are_found_by_a_part_of_their_name(writer: TestClient) -> None:
    found = writer.get("/v1/businesses", params={"q": "CAFÉ"}).json()["businesses"]
    assert [business["docid"] for business in found] == ["cafe", "past"]
    assert found[0] == {
        "docid": "cafe",
        "name": "Corner Café",
        "categories": ["Coffee Shops", "Pet Shops"],
    }
    assert writer.get("/v1/businesses", params={"q": "nobody"}).json() == {"businesses": []}
    assert len(writer.get("/v1/businesses", params={"limit": 2}).json()["businesses"]) == 2
