"""The operations view in a real browser: what it shows, and what is done from it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from api.main import create
from api.wiring import Services
from pipeline.dead_letters import Parking, Publisher, letter_from
from pipeline.errors import FetchFailed, InvalidMessage
from pipeline.graph import Sender
from pipeline.ingest import Intake
from pipeline.queues import JOBS, QUEUES, Stage, lane_queue
from pipeline.records import CatalogueImage, DeadLetter, ImageState, StageRecord
from pipeline.settings import Settings
from tests.browser.conftest import Visit, barriers, served
from tests.pictures import green
from tests.services.conftest import Site, site  # noqa: F401 - a fixture
from tests.shops import Outbox

pytestmark = pytest.mark.browser

ENHANCE, TAG = Stage.ENHANCE.value, Stage.TAG.value
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def outbox() -> Outbox:
    """What stands for the broker."""
    return Outbox()


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, outbox: Outbox) -> Services:
    """Embedded stores with six images, all done."""
    services = Services(Settings(data_dir=tmp_path_factory.mktemp("site")), outbox)
    documents = services.stores.documents
    record = StageRecord(key="k", outcome="done", ended_at=1.0, seconds=1.5)
    for number in range(1, 7):
        row = CatalogueImage(docid="shop", product_id=number, sha256=str(number))
        documents.accept_image(row)
        tagged = {f"stages.{TAG}": record.model_dump(mode="json")}
        documents.patch_metadata("shop", number, 1, tagged)
        documents.update_image("shop", number, 1, {"state": ImageState.DONE})
    return services


@pytest.fixture(scope="module")
def address(services: Services) -> Iterator[str]:
    """Where the page is served."""
    services.text_encoder.load()
    with served(create(lambda: services)) as address:
        yield address


@pytest.fixture(autouse=True)
def parked(services: Services, outbox: Outbox) -> list[DeadLetter]:
    """Three dead letters, newest first, and nothing that an earlier test has done."""
    documents = services.stores.documents
    for old in documents.dead_letters(limit=1000):
        documents.drop_dead_letter(old.key)
    outbox.error_queues.parked.clear()
    outbox.sent.clear()
    outbox.waiting.clear()
    outbox.is_down = False
    outbox.answering = {"all@here": [*QUEUES, lane_queue(TAG, 9)]}  # type: ignore[arg-type]
    return [
        park(services, outbox, ENHANCE, FetchFailed("http://x/3.jpg answered 503"), 3),
        park(services, outbox, TAG, ValueError("<b>no</b> picture"), 2),
        park(services, outbox, TAG, ValueError("too dark"), 1),
    ]


def park(
    services: Services, outbox: Outbox, queue: str, error: Exception, number: int
) -> DeadLetter:
    body = {"docid": "shop", "product_id": number, "generation": 1, "correlation_id": "c"}
    letter = letter_from(queue=queue, task=queue, task_id=f"t{number}", error=error, args=[body])
    letter = letter.model_copy(update={"last_at": 1_700_000_000.0 + number})
    Parking(services.stores.documents, outbox.error_queues.park).park(letter, ends_image=False)
    return letter


def row(page: Page, number: int) -> Locator:
    return page.locator(f'.letter[data-name="shop / {number}"]')


def names(page: Page) -> list[str]:
    return page.locator(".letter-name strong").all_inner_texts()


def confirm(page: Page, question: str, button: str) -> None:
    dialog = page.get_by_role("dialog", name=question)
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name=button, exact=True).click()


def outcome(page: Page) -> Locator:
    return page.locator("#outcome")


def table_row(page: Page, stage: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=stage))


def test_a_dead_letter_is_sent_again_and_goes(visit: Visit, outbox: Outbox) -> None:
    page = visit("/operations")
    row(page, 2).get_by_role("button", name="Replay").click()
    confirm(page, "Replay shop / 2?", "Replay")
    expect(outcome(page)).to_have_text("1 sent again.")
    expect(row(page, 2)).to_have_count(0)
    assert [(image.product_id, stage) for image, stage in outbox.sent] == [(2, Stage.TAG)]
    assert names(page) == ["shop / 3", "shop / 1"]
    expect(table_row(page, "Tag").get_by_role("link")).to_have_text("1")


def test_nothing_is_done_that_is_not_confirmed(visit: Visit, outbox: Outbox) -> None:
    page = visit("/operations")
    row(page, 2).get_by_role("button", name="Drop").click()
    confirm(page, "Drop shop / 2?", "Cancel")
    page.keyboard.press("Escape")
    expect(row(page, 2).get_by_role("button", name="Drop")).to_be_focused()
    row(page, 2).get_by_role("button", name="Replay").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert len(outbox.error_queues.left()) == 3
    assert outbox.sent == []


def test_those_that_are_chosen_are_dropped(visit: Visit, outbox: Outbox, parked: list) -> None:
    page = visit("/operations")
    for number in (1, 3):
        row(page, number).get_by_role("checkbox").check()
    expect(page.locator("[data-count]")).to_have_text("2 selected")
    page.get_by_role("button", name="Drop selected").click()
    confirm(page, "Drop 2 dead letters?", "Drop")
    expect(outcome(page)).to_have_text("2 dropped.")
    expect(page.locator(".letter")).to_have_count(1)
    assert outbox.error_queues.left() == [parked[1].key]
    assert outbox.sent == []


def test_all_that_fit_a_filter_are_sent_again(visit: Visit, outbox: Outbox) -> None:
    page = visit("/operations")
    page.get_by_label("Queue", exact=True).select_option("Tag")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".letter")).to_have_count(2)
    assert "queue=image_tag_process" in page.url
    page.get_by_role("button", name="Replay all that fit").click()
    confirm(page, "Replay all 2 that fit?", "Replay")
    expect(outcome(page)).to_have_text("2 sent again.")
    expect(page.locator("#dead-letters")).to_contain_text("None fits.")
    assert {image.product_id for image, _ in outbox.sent} == {1, 2}
    page.get_by_role("link", name="Clear").click()
    expect(page.locator(".letter")).to_have_count(1)


def test_failures_that_come_back_at_once_are_not_sent_again_without_end(
    visit: Visit, services: Services, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_again(_: Outbox, image: CatalogueImage, start: Stage) -> None:
        body = {"docid": "shop", "product_id": image.product_id, "generation": 1}
        again = f"again {len(outbox.sent)}"
        outbox.sent.append((image, start))
        letter = letter_from(
            queue=TAG, task=TAG, task_id=again, error=ValueError("no"), args=[body]
        )
        Parking(services.stores.documents, outbox.error_queues.park).park(letter, ends_image=False)

    monkeypatch.setattr(Outbox, "__call__", fail_again)
    page = visit("/operations")
    page.get_by_role("button", name="Replay all").click()
    confirm(page, "Replay all 3 dead letters?", "Replay")
    expect(outcome(page)).to_have_text("3 sent again.")
    expect(page.locator(".letter")).to_have_count(3)
    assert len(outbox.sent) == 3


def test_a_cause_is_one_click_away_and_back_leads_back(visit: Visit) -> None:
    page = visit("/operations")
    page.get_by_role("link", name="FetchFailed in Enhance").last.click()
    expect(page.locator(".letter")).to_have_count(1)
    assert names(page) == ["shop / 3"]
    expect(page.get_by_label("Cause", exact=True)).to_have_value("FetchFailed")
    page.go_back()
    expect(page.locator(".letter")).to_have_count(3)


def test_what_happens_meanwhile_appears_by_itself_and_is_announced(
    visit: Visit, services: Services, outbox: Outbox
) -> None:
    page = visit("/operations")
    row(page, 2).get_by_role("checkbox").check()
    row(page, 1).get_by_role("button", name="Replay").focus()
    page.evaluate("document.querySelector('.letter').kept = true")
    park(services, outbox, JOBS, InvalidMessage("docid: missing"), 9)
    outbox.waiting = {(TAG, "interactive"): 7, (TAG, "bulk"): 12_000}
    outbox.answering = {}
    expect(row(page, 9)).to_be_visible(timeout=15_000)
    expect(table_row(page, "Tag")).to_contain_text("12\u202f000")
    expect(page.get_by_role("status").first).to_have_text(re.compile(r"^4 dead letters\. Ev"))
    expect(row(page, 2).get_by_role("checkbox")).to_be_checked()
    expect(row(page, 1).get_by_role("button", name="Replay")).to_be_focused()
    assert page.evaluate("document.querySelectorAll('.letter')[1].kept"), "it is the same element"


def test_paused_it_stays_as_it_is(visit: Visit, services: Services, outbox: Outbox) -> None:
    page = visit("/operations")
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("button", name="Pause").click()
    page.clock.install()
    page.clock.run_for(60_000)
    assert asked == []
    park(services, outbox, JOBS, InvalidMessage("docid: missing"), 9)
    page.get_by_role("button", name="Pause").click()
    expect(row(page, 9)).to_be_visible()


def test_details_show_arguments_and_traceback_and_close_by_escape(visit: Visit) -> None:
    page = visit("/operations")
    link = row(page, 2).get_by_role("link", name="Details")
    link.click()
    details = page.get_by_role("dialog", name="ValueError")
    expect(details).to_contain_text('"product_id": 2')
    expect(details).to_contain_text("ValueError: <b>no</b> picture")
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    expect(link).to_be_focused()
    link.click()
    details.get_by_role("button", name="Drop").click()
    confirm(page, "Drop shop / 2?", "Drop")
    expect(outcome(page)).to_have_text("1 dropped.")
    expect(details).to_be_hidden()
    expect(row(page, 2)).to_have_count(0)


def test_without_a_broker_it_says_so_and_shows_the_rest(visit: Visit, outbox: Outbox) -> None:
    outbox.is_down = True
    page = visit("/operations")
    expect(page.locator(".operations-state")).to_contain_text("Broker: away")
    expect(page.locator(".dependencies")).to_contain_text("no one is there")
    expect(page.locator(".tiles")).to_contain_text("The broker does not answer.")
    expect(page.locator(".letter")).to_have_count(3)
    expect(table_row(page, "Tag").get_by_role("cell").first).to_have_text("?")


def test_a_replay_that_the_broker_does_not_take_says_so_and_nothing_goes(
    browser: Browser, address: str, outbox: Outbox
) -> None:
    # Not through `visit`: the browser itself complains about the answer 503.
    page = browser.new_page()
    page.goto(f"{address}/operations")
    outbox.is_down = True
    row(page, 2).get_by_role("button", name="Replay").click()
    confirm(page, "Replay shop / 2?", "Replay")
    expect(outcome(page)).to_contain_text("Not all went: the broker did not take the message")
    expect(page.locator(".letter")).to_have_count(3)
    page.close()


def test_a_server_that_is_away_is_said_and_asked_again(visit: Visit) -> None:
    page = visit("/operations")
    page.clock.install()
    page.evaluate("() => { window.fetchAnew = window.fetch }")
    page.evaluate("() => { window.fetch = async () => { throw new Error('Nobody answers.') } }")
    for _ in range(2):
        page.get_by_role("button", name="Pause").click()
    expect(page.locator("[data-lost]")).to_contain_text("Nobody answers.")
    page.evaluate("() => { window.fetch = window.fetchAnew }")
    page.clock.run_for(10_000)
    expect(page.locator("[data-lost]")).to_be_hidden()


def test_everything_can_be_done_by_keys(visit: Visit, outbox: Outbox) -> None:
    page = visit("/operations")
    page.get_by_label("Queue", exact=True).focus()
    page.keyboard.press("T")
    for _ in range(5):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".letter")).to_have_count(2)
    reach(page, "Select")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Details of shop / 2")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(outcome(page)).to_have_text("1 sent again.")
    expect(page.get_by_role("heading", name="Dead letters", level=2).last).to_be_focused()
    assert [image.product_id for image, _ in outbox.sent] == [2]


def reach(page: Page, what: str) -> None:
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('[data-select]')"):
            return
    pytest.fail(f"no key leads to {what}")


def test_without_scripts_it_reads_and_filters(visit: Visit) -> None:
    page = visit("/operations", java_script_enabled=False)
    expect(page.get_by_role("button", name="Replay")).to_have_count(0)
    page.get_by_label("Cause", exact=True).select_option("FetchFailed")
    page.get_by_role("button", name="Filter").click()
    assert names(page) == ["shop / 3"]
    page.get_by_role("link", name="Details of shop / 3").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("FetchFailed")
    expect(page.locator("pre").last).to_contain_text("answered 503")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_nothing_keeps_anybody_from_using_it(visit: Visit, scheme: str, width: int) -> None:
    size = {**PHONE, "width": width}
    page = visit("/operations", color_scheme=scheme, viewport=size, reduced_motion="reduce")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert barriers(page) == []
    row(page, 2).get_by_role("link", name="Details").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert barriers(page) == []
    page.get_by_role("dialog").get_by_role("button", name="Drop").click()
    assert barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.services
def test_a_real_worker_ends_what_was_sent_again(browser: Browser, site: Site) -> None:  # noqa: F811
    unsent = Intake(site.stores, site.settings, lambda *_: None)
    unsent.accept_bytes("shop-1", 1, green(1))
    body = {"docid": "shop-1", "product_id": 1, "generation": 1}
    letter = letter_from(
        queue=ENHANCE, task=ENHANCE, task_id="t", error=FetchFailed("503"), args=[body]
    )
    Parking(site.stores.documents, Publisher(site.app)).park(letter, ends_image=True)
    site.worker()
    with served(create(lambda: Services(site.settings, Sender(site.app)))) as address:
        page = browser.new_page()
        page.goto(f"{address}/operations")
        expect(page.locator(".tiles")).to_contain_text("Every queue is served.", timeout=60_000)
        page.get_by_role("button", name="Replay shop-1 / 1").click()
        confirm(page, "Replay shop-1 / 1?", "Replay")
        expect(outcome(page)).to_have_text("1 sent again.")
        expect(page.locator(".tile-wide .figure")).to_have_text(re.compile("^1 "), timeout=60_000)
        page.close()
    assert site.states() == {ImageState.DONE: 1}
    assert site.parked(ENHANCE) == []
