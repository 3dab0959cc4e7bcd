"""The catalogue API and the objects, over HTTP."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create
from api.wiring import Services
from pipeline.records import ImageState
from pipeline.settings import Settings
from pipeline.stores.objects import CACHE_CONTROL
from tests.shops import Outbox, counted_reads


def listed(client: TestClient, docid: str, **query: Any) -> dict[int, bool]:
    body = client.get(f"/v1/catalogue/{docid}/images", params=query).json()
    return {image["product_id"]: image["valid"] for image in body["images"]}


def reasons(client: TestClient, docid: str, **query: Any) -> dict[int, list[str]]:
    body = client.get(f"/v1/catalogue/{docid}/images", params=query).json()
    return {
        image["product_id"]: [reason["code"] for reason in image["reasons"]]
        for image in body["images"]
    }


def find(shops: Services, docid: str, product_id: int, *findings: str) -> None:
    """As if the stages had found these flags in an image."""
    flags = {f"flags.{name}": True for name in findings}
    shops.stores.documents.patch_metadata(docid, product_id, 1, flags)
    shops.stores.documents.patch_relevance(docid, product_id, 1, {"card.invalid": list(findings)})


def test_every_image_says_whether_it_is_valid(reader: TestClient) -> None:
    assert listed(reader, "garage") == {301: False, 302: True, 303: False, 304: True}
    assert listed(reader, "new") == {}


def test_the_list_can_be_narrowed_to_valid_images_or_to_the_others(reader: TestClient) -> None:
    assert listed(reader, "garage", valid=True) == {302: True, 304: True}
    assert listed(reader, "garage", valid=False) == {301: False, 303: False}


def test_an_invalid_image_says_why_in_code_and_in_words(reader: TestClient) -> None:
    body = reader.get("/v1/catalogue/garage/images", params={"valid": False}).json()
    assert (body["valid"], body["invalid"], body["after"]) == (2, 2, None)
    copy, screenshot = body["images"]
    assert screenshot["reasons"] == [
        {"code": "screenshot", "detail": "The image is a screenshot.", "duplicate_of": None}
    ]
    assert screenshot["flags"]["screenshot"] is True
    assert [(one["code"], one["duplicate_of"]) for one in copy["reasons"]] == [("duplicate", 304)]


def test_of_images_that_look_the_same_the_better_and_then_the_older_one_stays(
    writer: TestClient, own_shops: Services
) -> None:
    documents = own_shops.stores.documents
    assert reasons(writer, "garage")[301] == ["duplicate"]
    documents.patch_relevance("garage", 301, 1, {"quality": 80.0})
    assert reasons(writer, "garage")[304] == ["duplicate"]
    assert reasons(writer, "garage")[301] == []
    find(own_shops, "garage", 301, "blurred")
    assert reasons(writer, "garage") == {301: ["blurred"], 302: [], 303: ["screenshot"], 304: []}


def test_an_expired_contract_makes_every_image_invalid(reader: TestClient) -> None:
    assert reasons(reader, "past") == {501: ["contract_expired"]}


def test_deleted_images_are_listed_when_they_are_asked_for(
    writer: TestClient, own_shops: Services
) -> None:
    own_shops.forgetting.image("cafe", 102)
    assert listed(writer, "cafe") == {101: True, 103: True}
    assert reasons(writer, "cafe", deleted=True) == {101: [], 102: ["deleted"], 103: []}


def test_an_image_that_could_not_be_looked_at_says_what_was_the_matter(
    writer: TestClient, own_shops: Services
) -> None:
    own_shops.intake.accept_bytes("new", 1, b"hello")
    parked = {"state": ImageState.FAILED, "failure": "UndecodableImage: not an image"}
    own_shops.stores.documents.update_image("new", 1, 1, parked)
    (image,) = writer.get("/v1/catalogue/new/images").json()["images"]
    assert [reason["code"] for reason in image["reasons"]] == ["failed"]
    assert image["failure"] == "UndecodableImage: not an image"


def test_other_rules_hold_at_once_for_the_catalogue_and_for_pages(
    writer: TestClient, own_shops: Services
) -> None:
    find(own_shops, "cafe", 101, "watermarked")
    find(own_shops, "cafe", 103, "blurred")

    def shown() -> set[int]:
        page = writer.get("/v1/relevance/cafe", params={"category": "Coffee Shops"}).json()
        return {picture["product_id"] for picture in page["dynamic"]}

    first, *_ = writer.get("/v1/catalogue/cafe/images").json()["images"]
    assert first["valid"]
    assert [note["code"] for note in first["notes"]] == ["watermarked"]
    assert shown() == {101, 102}

    chosen = Settings(
        data_dir=own_shops.settings.data_dir,
        open_to="all",
        catalogue_rules="watermarked",
        catalogue_least_side=401,
    )
    with TestClient(create(lambda: Services(chosen, Outbox()))) as other:
        assert reasons(other, "cafe") == {101: ["watermarked"], 102: [], 103: []}
        page = other.get("/v1/relevance/cafe", params={"category": "Coffee Shops"}).json()
        assert {picture["product_id"] for picture in page["dynamic"]} == {102, 103}
        (first, *_) = other.get("/v1/catalogue/cafe/images").json()["images"]
        assert [note["code"] for note in first["notes"]] == ["too_small"]


def test_a_long_list_is_read_page_by_page(reader: TestClient) -> None:
    pages = []
    after: int | None = 0
    while after is not None:
        body = reader.get("/v1/catalogue/garage/images", params={"limit": 3, "after": after}).json()
        pages.append([image["product_id"] for image in body["images"]])
        after = body["after"]
    assert pages == [[301, 302, 303], [304]]


def test_many_businesses_are_looked_at_in_as_many_reads_as_one(
    reader: TestClient, shops: Services
) -> None:
    asked = {"docids": ["garage", "nobody", "cafe", "new", "past", "cafe"], "valid": False}
    with counted_reads(shops) as reads:
        body = reader.post("/v1/catalogue/images", json=asked).json()
    assert sorted(reads) == ["businesses", "images", "metadata", "page"]
    found = {
        one["docid"]: [image["product_id"] for image in one["images"]] for one in body["businesses"]
    }
    assert found == {"cafe": [], "garage": [301, 303], "past": [501]}
    assert [(one["valid"], one["invalid"]) for one in body["businesses"]] == [
        (3, 0),
        (2, 2),
        (0, 1),
    ]
    assert (body["unknown"], body["after"]) == (["nobody"], None)


def test_many_businesses_are_read_page_by_page(reader: TestClient) -> None:
    read: list[int] = []
    after = None
    while True:
        asked = {"docids": ["garage", "cafe", "past"], "limit": 2, "after": after}
        body = reader.post("/v1/catalogue/images", json=asked).json()
        page = [image["product_id"] for one in body["businesses"] for image in one["images"]]
        assert len(page) <= 2
        read += page
        after = body["after"]
        if after is None:
            break
    assert read == [101, 102, 103, 301, 302, 303, 304, 501]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"docids": []},
        {"docids": ["$ne"]},
        {"docids": ["cafe"] * 101},
        {"docids": ["cafe"], "limit": 5000},
        {"docids": ["cafe"], "after": {"docid": "cafe", "product_id": 2**63}},
        {"docids": ["cafe"], "colour": "red"},
    ],
)
def test_a_request_that_does_not_fit_is_refused(reader: TestClient, wrong: Any) -> None:
    answer = reader.post("/v1/catalogue/images", json=wrong)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_unknown_business_has_no_catalogue(reader: TestClient) -> None:
    assert reader.get("/v1/catalogue/nobody/images").status_code == 404


def test_an_object_is_served_with_its_type_and_may_be_kept_for_ever(reader: TestClient) -> None:
    (image, *_) = reader.get("/v1/catalogue/cafe/images").json()["images"]
    original = reader.get(image["url"])
    assert original.status_code == 200
    assert original.headers["content-type"] == "image/png"
    assert original.headers["cache-control"] == CACHE_CONTROL
    assert original.headers["x-content-type-options"] == "nosniff"
    assert len(original.content) == image["size"]
    assert original.content.startswith(b"\x89PNG")
    assert reader.get(image["enhanced_url"]).headers["content-type"] == "image/jpeg"
    again = reader.get(image["url"], headers={"If-None-Match": original.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert reader.head(image["url"]).status_code == 200


@pytest.mark.parametrize(
    "key",
    [
        *("originals/ab/none.jpg", "..%2f..%2fdocuments.db", "originals", "A", "%00", "a//b"),
        "a" * 2000,
    ],
)
def test_what_is_no_object_is_not_found(reader: TestClient, key: str) -> None:
    answer = reader.get(f"/objects/{key}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/objects/", "/pictures/320/"])
def test_what_is_stored_beside_the_photos_is_nobodys_to_read(
    writer: TestClient, own_shops: Services, path: str
) -> None:
    key = "online/queries/date=2026-11-26/hour=04.parquet"
    own_shops.stores.objects.put(key, b"what people typed")
    answer = writer.get(f"{path}{key}")
    assert answer.status_code == 404
    assert b"typed" not in answer.content
