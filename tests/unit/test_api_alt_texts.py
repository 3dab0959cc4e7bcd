"""Alt texts over HTTP, for the people who own them."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import alt_texts
from api.main import create
from api.wiring import Services
from pipeline.records import AltTag
from pipeline.stores.relational import AltTexts
from tests.shops import counted_reads, open_shops

CAFE = "/v1/alt_texts/cafe/101"


@pytest.fixture(scope="module")
def own_shops(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """Shops of these tests' own; each of them begins with the same alt texts."""
    return open_shops(tmp_path_factory.mktemp("shops"))


@pytest.fixture(scope="module")
def writer(own_shops: Services) -> Iterator[TestClient]:
    with TestClient(create(lambda: own_shops), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def texts(own_shops: Services) -> None:
    """What runs have left: two of the café, one of the museum, one of an image that is gone."""
    for row in own_shops.stores.directory.alt_texts(AltTexts()):
        own_shops.stores.directory.delete_alt_text(row.docid, row.product_id)
    for docid, product_id, text in (
        ("cafe", 101, "A cup of coffee at Corner Café"),
        ("cafe", 102, "photo of a cat"),
        ("museum", 201, "A rocket on its launch pad"),
        ("museum", 999, "An image that is gone"),
    ):
        own_shops.stores.directory.save_alt_text(
            AltTag(docid=docid, product_id=product_id, alttag=text, score=0.25, generation=1)
        )


def listed(client: TestClient, **query: Any) -> dict[str, Any]:
    answer = client.get("/v1/alt_texts", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def keys(body: dict[str, Any]) -> list[tuple[str, int]]:
    return [(row["docid"], row["product_id"]) for row in body["alt_texts"]]


@pytest.mark.usefixtures("texts")
class TestList:
    def test_says_what_one_needs_to_judge_a_text(self, writer: TestClient) -> None:
        body = listed(writer)
        assert keys(body) == [("cafe", 101), ("cafe", 102), ("museum", 201)]
        assert body["after"] == ""
        assert body["counts"] == {"open": 4, "approved": 0}
        first, second, _ = body["alt_texts"]
        assert first.pop("updated_at") > 0
        assert first.pop("url").startswith("/objects/originals/")
        assert first == {
            "docid": "cafe",
            "product_id": 101,
            "alttag": "A cup of coffee at Corner Café",
            "score": 0.25,
            "source": "generated",
            "review_state": "open",
            "width": 600,
            "height": 400,
            "business_name": "Corner Café",
            "problems": [],
        }
        assert len(second["problems"]) == 2

    def test_is_read_page_by_page(self, writer: TestClient) -> None:
        read: list[tuple[str, int]] = []
        after = ""
        while True:
            body = listed(writer, limit=1, after=after)
            read += keys(body)
            after = body["after"]
            if not after:
                break
        assert read == [("cafe", 101), ("cafe", 102), ("museum", 201)]

    def test_can_be_narrowed_and_counts_what_it_is_narrowed_to(self, writer: TestClient) -> None:
        writer.put(CAFE, json={"alttag": "A cup"})
        assert keys(listed(writer, state="approved")) == [("cafe", 101)]
        assert keys(listed(writer, source="manual", state="", docid="")) == [("cafe", 101)]
        body = listed(writer, docid="cafe", source="generated")
        assert keys(body) == [("cafe", 102)]
        assert body["counts"] == {"open": 1, "approved": 0}

    def test_leaves_out_counts_that_would_take_long(
        self, writer: TestClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(alt_texts, "MOST_COUNTED", 3)
        assert listed(writer)["counts"] == {"approved": 0}

    def test_takes_as_many_reads_for_many_rows_as_for_one(
        self, writer: TestClient, own_shops: Services
    ) -> None:
        with counted_reads(own_shops) as reads:
            listed(writer)
        assert sorted(reads) == ["alt_texts", "businesses"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"state": "late"},
            {"source": "robot"},
            {"docid": "$ne"},
            {"limit": 0},
            {"limit": 1000},
            {"after": "open/manual"},
            {"after": "open/manual/cafe/x"},
            {"colour": "red"},
        ],
    )
    def test_refuses_what_it_does_not_know(self, writer: TestClient, wrong: Any) -> None:
        answer = writer.get("/v1/alt_texts", params=wrong)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"

    def test_goes_on_behind_any_place(self, writer: TestClient) -> None:
        largest = f"open/generated/cafe/{10**19 - 1}"
        assert keys(listed(writer, after=largest)) == [("museum", 201)]


@pytest.mark.usefixtures("texts")
class TestEdit:
    def test_is_what_pages_show_at_once_and_no_run_replaces(
        self, writer: TestClient, own_shops: Services
    ) -> None:
        answer = writer.put(CAFE, json={"alttag": "  A cup of coffee with foam "})
        assert answer.status_code == 200
        row = answer.json()
        assert row["alttag"] == "A cup of coffee with foam"
        assert (row["source"], row["review_state"]) == ("manual", "approved")
        page = writer.get("/v1/relevance/cafe", params={"category": "Coffee Shops"}).json()
        assert page["dynamic"][0]["alt"] == "A cup of coffee with foam"
        (image, *_) = writer.get("/v1/catalogue/cafe/images").json()["images"]
        assert image["alt"] == "A cup of coffee with foam"
        run = AltTag(docid="cafe", product_id=101, alttag="A run", score=0.9, generation=1)
        assert own_shops.stores.directory.save_alt_text(run).source == "manual"

    def test_can_be_left_open(self, writer: TestClient) -> None:
        row = writer.put(CAFE, json={"alttag": "A cup", "approve": False}).json()
        assert (row["source"], row["review_state"]) == ("manual", "open")

    def test_can_come_before_any_run(self, writer: TestClient) -> None:
        row = writer.put("/v1/alt_texts/cafe/103", json={"alttag": "An astronaut"}).json()
        assert (row["alttag"], row["score"]) == ("An astronaut", 0)

    def test_that_breaks_rules_is_refused_with_each_of_them(self, writer: TestClient) -> None:
        answer = writer.put(CAFE, json={"alttag": "photo of <b>a</b>, b, c, d, e"})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        errors = answer.json()["errors"]
        assert {error["field"] for error in errors} == {"body.alttag"}
        assert len(errors) == 4
        only_the_name = writer.put(CAFE, json={"alttag": "Corner Café"}).json()
        assert "name of the business" in only_the_name["detail"]
        assert listed(writer)["alt_texts"][0]["alttag"] == "A cup of coffee at Corner Café"

    @pytest.mark.parametrize(
        "body", [{}, {"alttag": None}, {"alttag": "x" * 10_000}, {"alttag": "A cup", "score": 1}]
    )
    def test_that_is_no_edit_is_refused(self, writer: TestClient, body: Any) -> None:
        assert writer.put(CAFE, json=body).status_code == 422

    @pytest.mark.parametrize("path", ["nobody/1", "cafe/404", "museum/999"])
    def test_of_an_image_that_is_not_there_is_not_found(
        self, writer: TestClient, path: str
    ) -> None:
        answer = writer.put(f"/v1/alt_texts/{path}", json={"alttag": "A cup"})
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.usefixtures("texts")
class TestApproval:
    def test_keeps_the_text_and_who_wrote_it(self, writer: TestClient) -> None:
        row = writer.post(f"{CAFE}/approve").json()
        assert (row["source"], row["review_state"]) == ("generated", "approved")
        assert row["alttag"] == "A cup of coffee at Corner Café"
        assert keys(listed(writer, state="approved")) == [("cafe", 101)]

    def test_is_refused_for_a_text_that_breaks_rules(self, writer: TestClient) -> None:
        answer = writer.post("/v1/alt_texts/cafe/102/approve")
        assert answer.status_code == 422
        assert len(answer.json()["errors"]) == 2
        assert keys(listed(writer, state="approved")) == []

    @pytest.mark.parametrize("path", ["cafe/103", "cafe/404", "museum/999"])
    def test_of_what_is_not_there_is_not_found(self, writer: TestClient, path: str) -> None:
        assert writer.post(f"/v1/alt_texts/{path}/approve").status_code == 404

    def test_of_many_says_what_became_of_them(self, writer: TestClient) -> None:
        chosen = [("cafe", 101), ("cafe", 102), ("museum", 201), ("museum", 999), ("cafe", 103)]
        images = [{"docid": docid, "product_id": product_id} for docid, product_id in chosen]
        answer = writer.post("/v1/alt_texts/approve", json={"images": images})
        assert answer.json() == {"approved": 2, "refused": 1, "unknown": 2}
        assert keys(listed(writer, state="approved")) == [("cafe", 101), ("museum", 201)]

    @pytest.mark.parametrize("count", [0, 501])
    def test_of_none_or_of_too_many_is_refused(self, writer: TestClient, count: int) -> None:
        images = [{"docid": "cafe", "product_id": number + 1} for number in range(count)]
        answer = writer.post("/v1/alt_texts/approve", json={"images": images})
        assert answer.status_code == 422
