"""The result page as the server writes it."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create
from api.wiring import Services
from pipeline.errors import StoreUnavailable
from pipeline.settings import Settings
from tests.shops import SHOPS


def first_picture(html: str, docid: str) -> str:
    card = html.split(f'data-docid="{docid}"')[1]
    return re.search(r'<img src="[^"]+"[^>]*alt="([^"]+)"', card, re.S).group(1)  # type: ignore[union-attr]


def test_the_page_reads_without_scripts(reader: TestClient) -> None:
    html = reader.get("/").text
    for shop in SHOPS:
        assert shop.business.name in html
    assert first_picture(html, "cafe") == "A cup of coffee at cafe"


def test_the_query_in_the_address_is_answered_by_the_server(reader: TestClient) -> None:
    html = reader.get("/", params={"query": "pet shop"}).text
    assert first_picture(html, "cafe") == "A pet cat at cafe"
    assert 'value="pet shop"' in html


def test_businesses_under_the_category_come_first(reader: TestClient) -> None:
    html = reader.get("/", params={"query": "museum"}).text
    assert re.findall(r'data-docid="(\w+)"', html)[0] == "museum"


def test_a_business_is_found_by_its_name(reader: TestClient) -> None:
    html = reader.get("/", params={"query": "old garage"}).text
    assert re.findall(r'data-docid="(\w+)"', html)[0] == "garage"


def test_what_was_typed_is_shown_as_text_and_nothing_else(reader: TestClient) -> None:
    html = reader.get("/", params={"query": '"><script>alert(1)</script>'}).text
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html


def test_nothing_inline_is_needed_or_allowed(reader: TestClient) -> None:
    answer = reader.get("/", params={"query": "coffee"})
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert " style=" not in answer.text
    assert re.findall(r"<script(?! type=\"module\" src=)", answer.text) == []
    assert re.findall(r'\son\w+="', answer.text) == []
    assert "//" not in re.sub(r"<!--.*?-->", "", "".join(re.findall(r'src="[^"]*"', answer.text)))


def test_every_image_has_its_size_and_an_alt_text(reader: TestClient) -> None:
    images = re.findall(r"<img\b[^>]*>", reader.get("/").text, re.S)
    assert len(images) > 6
    for image in images:
        assert re.search(r'width="[1-9]\d*"', image)
        assert re.search(r'height="[1-9]\d*"', image)
        assert re.search(r'alt="[^"]+"', image)


def test_the_results_alone_can_be_fetched(reader: TestClient) -> None:
    html = reader.get("/results", params={"query": "coffee"}).text
    assert "<html" not in html
    assert 'data-docid="cafe"' in html


def test_a_business_without_pictures_says_why(reader: TestClient) -> None:
    card = reader.get("/").text.split('data-docid="new"')[1].split("</article>")[0]
    assert "no images yet" in card


def test_an_empty_directory_says_how_to_begin(tmp_path: Path) -> None:
    empty = Services(Settings(data_dir=tmp_path, open_to="all"))
    with TestClient(create(lambda: empty)) as client:
        html = client.get("/").text
    assert "No businesses yet" in html
    assert "justlens demo" in html


def test_when_a_store_is_away_the_page_says_so_and_keeps_the_query(
    writer: TestClient, own_shops: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the store is away")

    monkeypatch.setattr(own_shops.stores.documents, "search_businesses", away)
    answer = writer.get("/", params={"query": "coffee"})
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert "cannot be shown right now" in answer.text
    assert 'href="/?query=coffee"' in answer.text


def test_styles_and_scripts_are_served(reader: TestClient) -> None:
    assert reader.get("/static/page.css").headers["content-type"].startswith("text/css")
    assert "javascript" in reader.get("/static/page.js").headers["content-type"]


def test_a_query_that_fits_nothing_shows_the_usual_order_and_says_so(reader: TestClient) -> None:
    html = reader.get("/", params={"query": "xqzvw"}).text
    assert "Each business shows its usual one." in html
    assert "Usual order" in html
    assert first_picture(html, "cafe") == "A cup of coffee at cafe"


def test_a_query_of_no_category_is_compared_with_what_pictures_show(reader: TestClient) -> None:
    html = reader.get("/", params={"query": "spacecraft lifting off"}).text
    assert "compared with what the pictures are said to show" in html
    assert "held just now against what it is said to show" in html
    assert first_picture(html, "museum") == "A rocket on its launch pad at museum"
