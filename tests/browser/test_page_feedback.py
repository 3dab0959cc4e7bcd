"""What the result page tells of pictures shown and clicked on, in a real browser."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Request, expect

from api.main import create
from api.wiring import Services
from tests.browser.conftest import Visit, served
from tests.browser.test_page import card, search
from tests.shops import open_shops

pytestmark = pytest.mark.browser

LIMIT = 10.0


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """What the page shows, and where its events are kept."""
    shops = open_shops(tmp_path_factory.mktemp("shops"))
    shops.warm_up()
    return shops


@pytest.fixture(scope="module")
def address(shops: Services) -> Iterator[str]:
    """Where the page is served."""
    with served(create(lambda: shops)) as address:
        yield address


class Told:
    """The events that a page has sent so far, in batches."""

    def __init__(self, page: Page) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        page.on("request", self._take)
        self._page = page

    def _take(self, request: Request) -> None:
        if request.url.endswith("/v1/events"):
            self.batches.append(json.loads(request.post_data or "{}")["events"])

    def until(self, kind: str, *wanted: tuple[str, str]) -> list[dict[str, Any]]:
        """The events of a kind, once those of these (docid, slot) are among them."""
        for _ in range(100):
            found = [event for batch in self.batches for event in batch if event["kind"] == kind]
            if set(wanted) <= {(event["docid"], event["slot"]) for event in found}:
                return found
            self._page.wait_for_timeout(100)
        pytest.fail(f"{wanted} are not among {self.batches}")


def test_pictures_that_were_seen_are_told_once(visit: Visit) -> None:
    page = visit("/?query=cofee", viewport={"width": 1280, "height": 900})
    told = Told(page)
    found = told.until("impression", ("cafe", "dynamic"), ("cafe", "carousel"))
    (first,) = [event for event in found if (event["docid"], event["slot"]) == ("cafe", "dynamic")]
    assert (first["query"], first["category"]) == ("cofee", "Coffee Shops")
    assert (first["product_id"], first["position"], first["source"]) == ("101", 1, "scores")
    card(page, "museum").scroll_into_view_if_needed()
    told.until("impression", ("museum", "dynamic"))
    card(page, "cafe").scroll_into_view_if_needed()
    page.keyboard.press("Home")
    found = told.until("impression", ("cafe", "dynamic"), ("museum", "dynamic"))
    ids = [event["event_id"] for event in found]
    assert len(ids) == len(set(ids))
    seen = [(event["docid"], event["product_id"]) for event in found]
    assert len(seen) == len(set(seen))


def test_what_is_not_seen_is_not_told(visit: Visit) -> None:
    page = visit("/?query=cofee", viewport={"width": 360, "height": 740})
    told = Told(page)
    found = told.until("impression", ("cafe", "dynamic"))
    assert {event["docid"] for event in found} == {"cafe"}


def test_other_results_are_told_anew(visit: Visit) -> None:
    page = visit("/", viewport={"width": 1280, "height": 900})
    told = Told(page)
    told.until("impression", ("cafe", "static"))
    search(page, "pet shop")
    found = told.until("impression", ("cafe", "static"), ("cafe", "dynamic"))
    cat = next(event for event in found if event["slot"] == "dynamic" and event["docid"] == "cafe")
    assert (cat["product_id"], cat["query"], cat["category"]) == ("102", "pet shop", "Pet Shops")


def test_clicks_are_told_with_the_place_of_their_picture(visit: Visit) -> None:
    page = visit("/?query=cofee", viewport={"width": 1280, "height": 900})
    told = Told(page)
    card(page, "cafe").locator(".thumb").nth(1).click()
    card(page, "cafe").get_by_text("Why this picture").locator("visible=true").click()
    page.keyboard.press("Escape")
    card(page, "museum").locator(".slide:not([hidden]) img").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    found = told.until("click", ("cafe", "carousel"), ("museum", "dynamic"))
    places = [(event["docid"], event["slot"], event["position"]) for event in found]
    # The second click on the same picture is the same event.
    assert places == [("cafe", "carousel", 2), ("museum", "dynamic", 1)]


def test_what_is_left_is_kept_though_somebody_leaves_at_once(
    visit: Visit, address: str, shops: Services
) -> None:
    page = visit("/?query=motorcycle+dealers", viewport={"width": 1280, "height": 900})
    card(page, "garage").locator(".thumb").nth(1).click()
    page.goto(f"{address}/upload")
    clicked: list[tuple[str, int]] = []
    deadline = time.monotonic() + LIMIT
    while not clicked and time.monotonic() < deadline:
        page.wait_for_timeout(50)
        shown = shops.stores.events.shown(0, "garage")
        clicked = [(one.slot, one.position) for one in shown if one.clicks]
    assert clicked == [("carousel", 2)]
