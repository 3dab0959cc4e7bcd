"""The catalogue API and the objects, over HTTP."""

import pytest
from fastapi.testclient import TestClient

from pipeline.stores.objects import CACHE_CONTROL


def listed(client: TestClient, docid: str, valid: bool | None = None) -> dict[int, bool]:
    asked = {} if valid is None else {"valid": valid}
    body = client.get(f"/v1/catalogue/{docid}/images", params=asked).json()
    return {image["product_id"]: image["valid"] for image in body["images"]}


def test_every_image_says_whether_it_is_valid(reader: TestClient) -> None:
    assert listed(reader, "garage") == {301: True, 302: True, 303: False, 304: True}


def test_the_list_can_be_narrowed_to_valid_images_or_to_the_others(reader: TestClient) -> None:
    assert listed(reader, "garage", valid=True) == {301: True, 302: True, 304: True}
    assert listed(reader, "garage", valid=False) == {303: False}


def test_an_invalid_image_says_why_in_code_and_in_words(reader: TestClient) -> None:
    body = reader.get("/v1/catalogue/garage/images", params={"valid": False}).json()
    assert (body["valid"], body["invalid"]) == (3, 1)
    (image,) = body["images"]
    assert image["reasons"] == [{"code": "screenshot", "detail": "The image is a screenshot."}]
    assert image["flags"]["screenshot"] is True


def test_an_expired_contract_makes_every_image_invalid(reader: TestClient) -> None:
    (image,) = reader.get("/v1/catalogue/past/images").json()["images"]
    assert [reason["code"] for reason in image["reasons"]] == ["contract_expired"]


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
