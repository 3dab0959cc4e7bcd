"""The review of alt texts as the server renders it."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from api import alt_texts_page
from api.main import create
from api.wiring import Services
from pipeline.errors import StoreUnavailable
from pipeline.records import AltTag
from tests.shops import open_shops


@pytest.fixture(scope="module")
def own_shops(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """Shops with three alt texts, the second with markup in it."""
    shops = open_shops(tmp_path_factory.mktemp("shops"))
    for product_id, text in (
        (101, "Coffee"),
        (102, "</textarea><script>x"),
        (103, "\nAn astronaut"),
    ):
        shops.stores.directory.save_alt_text(
            AltTag(docid="cafe", product_id=product_id, alttag=text, score=0.1, generation=1)
        )
    return shops


@pytest.fixture(scope="module")
def client(own_shops: Services) -> Iterator[TestClient]:
    with TestClient(create(lambda: own_shops), raise_server_exceptions=False) as client:
        yield client


def shown(html: str) -> list[str]:
    return re.findall(r'data-product="(\d+)"', html)


def test_texts_to_review_are_shown_with_their_pictures_and_what_is_wrong(
    client: TestClient,
) -> None:
    answer = client.get("/alt-texts")
    assert answer.status_code == 200
    assert shown(answer.text) == ["101", "102", "103"]
    assert "It holds HTML." in answer.text
    assert "/pictures/320/originals/" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert shown(client.get("/alt-texts", params={"state": "approved"}).text) == []


def test_a_text_stays_text_whatever_it_holds(client: TestClient) -> None:
    page = client.get("/alt-texts").text
    assert "<script>x" not in page
    assert "&lt;/textarea&gt;&lt;script&gt;x</textarea>" in page
    # The first line break in a text field is none of its text's.
    assert ">\n\nAn astronaut</textarea>" in page


def test_the_next_page_goes_on_where_this_one_ends(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alt_texts_page, "SHOWN", 2)
    first = client.get("/alt-texts", params={"docid": "cafe"}).text
    assert shown(first) == ["101", "102"]
    (after,) = re.findall(r'rel="next" href="([^"]*)"', first)
    assert shown(client.get(after.replace("&amp;", "&")).text) == ["103"]


@pytest.mark.parametrize("after", ["nowhere", "open/manual/../1", "x" * 10_000])
def test_a_place_that_there_is_not_is_said_to_be_none(client: TestClient, after: str) -> None:
    answer = client.get("/alt-texts", params={"after": after})
    assert answer.status_code == 422
    assert "There is no such place in the list." in answer.text


@pytest.mark.parametrize("business", ["🍕", "' OR 1=1 --", '{"$gt": ""}', "x" * 10_000])
def test_a_business_that_there_is_not_is_said_to_be_none(client: TestClient, business: str) -> None:
    answer = client.get("/alt-texts", params={"docid": business})
    assert answer.status_code == 200
    assert "No business of that name" in answer.text


def test_a_store_that_is_away_is_said_to_be(
    client: TestClient, own_shops: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("the store is away")

    monkeypatch.setattr(own_shops.stores.directory, "alt_texts", away)
    answer = client.get("/alt-texts")
    assert answer.status_code == 503
    assert "the store is away" in answer.text
