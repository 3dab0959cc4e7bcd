"""The operations view as the server renders it."""

import re
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from api.wiring import Services
from pipeline.dead_letters import Parking, letter_from
from pipeline.errors import InvalidMessage, StoreUnavailable
from pipeline.queues import JOBS, QUEUES, Stage
from tests.shops import Outbox

TAG = Stage.TAG.value


@pytest.fixture
def parked(own_shops: Services, outbox: Outbox) -> None:
    """A foreign message with markup in it, and thirty failures of one cause."""
    parking = Parking(own_shops.stores.documents, outbox.error_queues.park)
    foreign = InvalidMessage("<script>alert(1)</script>")
    letters = [letter_from(queue=JOBS, task=JOBS, task_id="f/1?", error=foreign, args=["<b>x</b>"])]
    for number in range(30):
        body = {"docid": "cafe", "product_id": 101, "generation": 1}
        error = ValueError(f"no {number}")
        letters.append(
            letter_from(queue=TAG, task=TAG, task_id=str(number), error=error, args=[body])
        )
    for number, letter in enumerate(letters):
        at = letter.model_copy(update={"last_at": 1_700_000_000.0 - number})
        parking.park(at, ends_image=False)


def shown(html: str) -> int:
    return html.count('class="letter"')


def test_the_page_has_everything_at_one_glance(
    writer: TestClient, outbox: Outbox, parked: None
) -> None:
    outbox.answering = {"cpu@here": list(QUEUES)}
    answer = writer.get("/operations")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "Every queue is served." in answer.text
    assert 'aria-label="30 dead letters of Tag"' in answer.text
    assert "31 dead letters." in re.sub(r"\s+", " ", answer.text)
    assert shown(answer.text) == 25
    assert "style=" not in answer.text


def test_what_foreign_messages_hold_is_no_markup(writer: TestClient, parked: None) -> None:
    page = writer.get("/operations").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    (address,) = set(re.findall(r"/operations/dead_letters/image_jobs[^\"]*", page))
    details = writer.get(address)
    assert details.status_code == 200
    assert "<b>x" not in details.text
    assert "&lt;b&gt;x&lt;/b&gt;" in details.text


def test_more_of_them_are_a_link_away(writer: TestClient, parked: None) -> None:
    page = writer.get("/operations", params={"queue": TAG}).text
    assert "25 of 30" in page
    (more,) = re.findall(r'href="([^"]*)" data-more', page)
    assert shown(writer.get(more.replace("&amp;", "&")).text) == 30


def test_a_filter_without_a_match_says_so(writer: TestClient, parked: None) -> None:
    page = writer.get("/operations", params={"docid": "nobody", "older_than": 0}).text
    assert "None fits." in page
    assert shown(page) == 0


def test_one_that_is_gone_is_said_to_be(writer: TestClient) -> None:
    answer = writer.get("/operations/dead_letters/image_tag_process/none")
    assert answer.status_code == 404
    assert "It is gone" in answer.text


def test_without_documents_the_page_shows_the_rest(
    writer: TestClient, own_shops: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the store is away")

    for method in ("check", "finished_images", "dead_letters", "count_dead_letters"):
        monkeypatch.setattr(own_shops.stores.documents, method, away)
    answer = writer.get("/operations")
    assert answer.status_code == 200
    assert "They cannot be read: the store is away" in answer.text
    assert "Messages waiting" in answer.text


@pytest.mark.parametrize(
    "fields", [{"older_than": "soon"}, {"limit": 0}, {"limit": 100_000}, {"older_than": -1}]
)
def test_what_no_filter_can_be_is_a_problem_document(
    reader: TestClient, fields: dict[str, object]
) -> None:
    assert reader.get("/operations", params=fields).status_code == 422


@pytest.mark.parametrize("text", ["x" * 10_000, "🍕", "' OR 1=1 --", '{"$gt": ""}', "\x00"])
def test_whatever_is_asked_for_finds_nothing_and_breaks_nothing(
    reader: TestClient, text: str
) -> None:
    for name in ("queue", "exception", "docid"):
        assert reader.get("/operations", params={name: text}).status_code == 200
    assert reader.get(f"/operations/dead_letters/{quote(text)}").status_code == 404
