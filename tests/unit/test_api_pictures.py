"""Smaller versions of pictures, over HTTP."""

import io
from pathlib import Path

import anyio
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from api.pictures import Smaller
from api.wiring import Services
from pipeline.smaller import SmallerVersions
from pipeline.stores.objects import CACHE_CONTROL
from pipeline.stores.objects_folder import FolderObjects


@pytest.fixture(scope="module")
def key(shops: Services) -> str:
    """Of a picture of 600 x 400 pixels."""
    image = shops.stores.documents.image("cafe", 101)
    assert image is not None
    return image.original_key


class Watched(FolderObjects):
    """Counts how often pictures are read, and how many at the same time."""

    asked = running = most = 0

    def get(self, key: str) -> bytes:
        self.asked += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return super().get(key)
        finally:
            self.running -= 1


@pytest.fixture
def objects(tmp_path: Path) -> Watched:
    """A store with the pictures ``0.png`` to ``9.png``."""
    target = io.BytesIO()
    Image.new("RGB", (400, 300), "red").save(target, "PNG")
    store = Watched(f"file://{tmp_path}", "")
    for number in range(10):
        store.put(f"{number}.png", target.getvalue())
    return store


def versions_of(objects: Watched) -> SmallerVersions:
    return SmallerVersions(objects, max_pixels=10**6, pixels_in_flight=10**6, at_a_time=2)


def test_a_picture_comes_as_wide_as_asked_for(reader: TestClient, key: str) -> None:
    answer = reader.get(f"/pictures/320/{key}")
    assert answer.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(answer.content)).size == (320, 213)
    assert len(answer.content) < 40_000


def test_nothing_is_enlarged(reader: TestClient, key: str) -> None:
    answer = reader.get(f"/pictures/1280/{key}")
    assert Image.open(io.BytesIO(answer.content)).size == (600, 400)


def test_whoever_has_a_version_keeps_it_and_need_not_fetch_it_again(
    reader: TestClient, key: str
) -> None:
    first = reader.get(f"/pictures/160/{key}")
    assert first.headers["cache-control"] == CACHE_CONTROL
    again = reader.get(f"/pictures/160/{key}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = reader.get(f"/pictures/320/{key}", headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200
    assert reader.head(f"/pictures/160/{key}").headers["content-type"] == "image/webp"


@pytest.mark.parametrize("width", ["161", "0", "-160", "99999999999999999999", "wide", "1e2"])
def test_any_other_width_is_a_problem(reader: TestClient, key: str, width: str) -> None:
    answer = reader.get(f"/pictures/{width}/{key}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["originals/00/00.jpg", "..%2Fsecret", "%C3%84", "a//b"])
def test_what_is_not_there_is_a_problem_that_nobody_keeps(reader: TestClient, path: str) -> None:
    for headers in ({}, {"If-None-Match": f'"{path.rpartition("/")[2]}-160"'}):
        answer = reader.get(f"/pictures/160/{path}", headers=headers)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert "cache-control" not in answer.headers


def test_what_is_no_picture_is_a_problem(writer: TestClient, own_shops: Services) -> None:
    own_shops.stores.objects.put("originals/aa/aa.jpg", b"no picture")
    answer = writer.get("/pictures/160/originals/aa/aa.jpg")
    assert answer.status_code == 422
    assert "not an image" in answer.json()["detail"]


def test_a_version_that_was_made_is_not_made_again(objects: Watched) -> None:
    versions = versions_of(objects)

    async def ask() -> list[bytes]:
        return [await versions.get("0.png", width) for width in (160, 160, 320)]

    first, again, wider = anyio.run(ask)
    assert first == again != wider
    assert objects.asked == 2


def test_no_more_are_made_at_a_time_than_allowed(objects: Watched) -> None:
    versions = versions_of(objects)

    async def ask() -> None:
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(versions.get, f"{number}.png", 160)

    anyio.run(ask)
    assert objects.asked == 10
    assert objects.most <= 2


def test_addresses_of_smaller_versions_follow_from_a_pictures_own() -> None:
    here = Smaller("https://cdn.example/objects/", "https://cdn.example/pictures")
    url = "https://cdn.example/objects/originals/ab/ab.jpg"
    assert here.address(url, 320) == "https://cdn.example/pictures/320/originals/ab/ab.jpg"
    assert [one.split()[-1] for one in here.srcset(url, 600).split(", ")] == [
        "160w",
        "320w",
        "480w",
        "600w",
    ]
    assert here.srcset(url, 100).endswith(" 100w")
    assert here.srcset(url, 5000).endswith(" 1280w")


def test_a_picture_from_elsewhere_keeps_its_address() -> None:
    here = Smaller("/objects", "/pictures")
    for url in ("https://shop.example/a.jpg", "/objectsfoo/a.jpg", "/objects/Ä.jpg", ""):
        assert here.address(url, 320) == url
        assert here.srcset(url, 600) == ""


def test_the_page_asks_for_versions_that_fit(reader: TestClient, key: str) -> None:
    html = reader.get("/", params={"query": "museum"}).text
    assert f'src="/pictures/160/{key}"' in html
    assert f"/pictures/320/{key} 320w" in html
