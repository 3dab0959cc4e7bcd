"""The review of alt texts in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from api import alt_texts_page
from api.main import create
from api.wiring import Services
from pipeline.records import AltSource, AltTag, ReviewState
from pipeline.stores.relational import AltTexts
from tests.browser.conftest import Visit, barriers, served
from tests.shops import open_shops

pytestmark = pytest.mark.browser

COFFEE = "A cup of coffee beside a spoon"
ROCKET = "A rocket on its launch pad"
GALAXIES = "Galaxies in all colours on black"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """Shops with real photos."""
    return open_shops(tmp_path_factory.mktemp("shops"))


@pytest.fixture(scope="module")
def address(services: Services) -> Iterator[str]:
    """Where the page is served."""
    with served(create(lambda: services)) as address:
        yield address


@pytest.fixture(autouse=True)
def texts(services: Services) -> None:
    """Four texts to review, the first of them by a person and the third against the rules."""
    directory = services.stores.directory
    for row in directory.alt_texts(AltTexts()):
        directory.delete_alt_text(row.docid, row.product_id)
    for docid, product_id, text in (
        ("cafe", 101, COFFEE),
        ("cafe", 102, "photo of a cat"),
        ("museum", 201, ROCKET),
    ):
        directory.save_alt_text(
            AltTag(docid=docid, product_id=product_id, alttag=text, score=0.3, generation=1)
        )
    directory.save_alt_text(
        AltTag(
            docid="museum",
            product_id=202,
            alttag=GALAXIES,
            score=0.0,
            source=AltSource.MANUAL,
            generation=1,
        )
    )


@pytest.fixture
def visit_refused(browser: Browser, address: str) -> Iterator[Page]:
    """Not through `visit`: the browser itself complains about answers that refuse something."""
    page = browser.new_page()
    page.goto(f"{address}/alt-texts")
    yield page
    page.close()


def row(page: Page, product_id: int) -> Locator:
    return page.locator(f'.text[data-product="{product_id}"]')


def field(page: Page, product_id: int) -> Locator:
    return row(page, product_id).get_by_role("textbox")


def tags(page: Page, product_id: int) -> list[str]:
    return row(page, product_id).locator(".tag:visible").all_inner_texts()


def order(page: Page) -> list[str]:
    return page.locator(".text").evaluate_all("all => all.map(one => one.dataset.product)")


def count(page: Page, state: str) -> Locator:
    return page.locator(f'[data-count-of="{state}"]')


def stored(services: Services, docid: str, product_id: int) -> tuple[str, str, str]:
    found = services.stores.directory.alt_text(docid, product_id)
    assert found is not None
    return found.alttag, found.source.value, found.review_state.value


def test_a_text_is_corrected_approved_and_left_for_the_next_by_one_key(
    visit: Visit, services: Services
) -> None:
    page = visit("/alt-texts")
    assert order(page) == ["202", "101", "102", "201"]
    field(page, 101).fill("An espresso in a red cup")
    expect(row(page, 101)).to_contain_text("24 of 125 characters")
    field(page, 101).press("Enter")
    expect(field(page, 102)).to_be_focused()
    assert tags(page, 101) == ["Approved", "Written by a person"]
    expect(row(page, 101).locator("img")).to_have_attribute("alt", "An espresso in a red cup")
    expect(count(page, "open")).to_have_text("3")
    expect(count(page, "approved")).to_have_text("1")
    written = "An espresso in a red cup", "manual", "approved"
    assert stored(services, "cafe", 101) == written
    (card,) = (
        one.card for one in services.stores.documents.relevance(["cafe"], [1]) if one.score == 0.9
    )
    assert card.alt == written[0]
    page.reload()
    assert order(page) == ["202", "102", "201"]


def test_a_text_that_is_right_is_approved_as_it_is(visit: Visit, services: Services) -> None:
    page = visit("/alt-texts")
    field(page, 101).press("Enter")
    expect(field(page, 102)).to_be_focused()
    assert tags(page, 101) == ["Approved"]
    assert stored(services, "cafe", 101) == (COFFEE, "generated", "approved")
    row(page, 201).get_by_role("button", name="Approve").click()
    expect(row(page, 201).locator(".when-approved")).to_be_visible()
    assert stored(services, "museum", 201) == (ROCKET, "generated", "approved")


def test_a_rule_that_is_broken_is_explained_beside_the_field(
    visit_refused: Page, services: Services
) -> None:
    page = visit_refused
    expect(row(page, 102)).to_contain_text("It says that it is a picture; screen readers do so.")
    field(page, 101).fill("pictures of coffee...")
    field(page, 101).press("Enter")
    wrong = row(page, 101).locator("[data-wrong]")
    expect(wrong).to_contain_text("It ends with an ellipsis.")
    expect(wrong).to_contain_text("capital letter")
    expect(field(page, 101)).to_be_focused()
    expect(field(page, 101)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("status")).to_contain_text("Not saved.")
    assert stored(services, "cafe", 101) == (COFFEE, "generated", "open")
    field(page, 101).fill("Coffee with a spoon")
    field(page, 101).press("Enter")
    expect(field(page, 102)).to_be_focused()
    expect(wrong).to_be_empty()
    assert stored(services, "cafe", 101)[0] == "Coffee with a spoon"


def test_escape_brings_back_what_was_there(visit: Visit, services: Services) -> None:
    page = visit("/alt-texts")
    field(page, 101).fill("Something else")
    expect(row(page, 101).get_by_role("button", name="Save and approve")).to_be_visible()
    field(page, 101).press("Escape")
    expect(field(page, 101)).to_have_value(COFFEE)
    expect(field(page, 101)).to_be_focused()
    field(page, 101).fill("Something else")
    row(page, 101).get_by_role("button", name="Undo").click()
    expect(field(page, 101)).to_have_value(COFFEE)
    assert stored(services, "cafe", 101) == (COFFEE, "generated", "open")


def test_all_that_are_shown_are_approved_but_those_that_break_a_rule_or_are_being_written(
    visit: Visit, services: Services
) -> None:
    page = visit("/alt-texts")
    field(page, 201).fill("A rocket at ni")
    page.get_by_role("button", name="Approve all shown").click()
    note = page.locator("#outcome")
    expect(note).to_have_text(
        "2 approved. 1 not, since they break a rule or were changed meanwhile."
    )
    expect(page.locator(".text")).to_have_count(2)
    assert order(page) == ["102", "201"]
    expect(field(page, 201)).to_have_value("A rocket at ni")
    expect(count(page, "approved")).to_have_text("2")
    assert stored(services, "cafe", 101)[2] == ReviewState.APPROVED
    assert stored(services, "museum", 202)[1:] == ("manual", "approved")
    field(page, 201).press("Escape")


def test_the_count_follows_every_key_and_says_when_it_is_too_much(visit: Visit) -> None:
    page = visit("/alt-texts")
    counted = row(page, 101).locator("[data-count]")
    field(page, 101).fill("Café ☕🍰")
    expect(counted).to_have_text("7 of 125 characters")
    field(page, 101).fill("x" * 126)
    expect(counted).to_have_text("126 of 125 characters")
    expect(counted).to_have_class("count wrong")
    field(page, 101).press("Escape")


def test_texts_are_found_by_state_business_and_who_wrote_them(visit: Visit) -> None:
    page = visit("/alt-texts")
    assert tags(page, 202) == ["To review", "Written by a person"]
    page.get_by_label("Written by").select_option("A person")
    page.get_by_role("button", name="Filter").click()
    assert order(page) == ["202"]
    page.get_by_role("link", name="Clear").click()
    page.get_by_label("Business").fill("space mus")
    page.get_by_role("button", name="Filter").click()
    assert order(page) == ["202", "201"]
    page.get_by_role("link", name="Approved").click()
    expect(page.locator(".text")).to_have_count(0)
    expect(page.locator("#review")).to_contain_text("There is none")


def test_a_name_that_several_businesses_have_is_asked_about(visit: Visit) -> None:
    page = visit("/alt-texts?docid=caf%C3%A9")
    page.get_by_role("link", name="Corner Café").click()
    assert order(page) == ["101", "102"]
    page.goto(page.url.partition("?")[0] + "?docid=nobody")
    expect(page.get_by_role("heading", name="No business of that name")).to_be_visible()


def test_everything_can_be_done_by_keys_from_page_to_page(
    visit_refused: Page, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alt_texts_page, "SHOWN", 2)
    page = visit_refused
    page.reload()
    page.get_by_role("button", name="Approve all shown").focus()
    while not page.evaluate("document.activeElement.matches('textarea')"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(field(page, 101)).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.type(", red")
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Next")
    expect(link).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**after=*")
    assert order(page) == ["102", "201"]
    assert stored(services, "cafe", 101) == (f"{COFFEE}, red", "manual", "approved")


def test_a_server_that_is_away_is_said_beside_the_field(
    visit_refused: Page, services: Services
) -> None:
    page = visit_refused
    page.route("**/v1/alt_texts/**", lambda route: route.abort())
    field(page, 101).fill("Written in vain")
    field(page, 101).press("Enter")
    expect(row(page, 101).locator("[data-wrong]")).to_contain_text("nothing was saved")
    expect(field(page, 101)).to_have_value("Written in vain")
    assert stored(services, "cafe", 101)[0] == COFFEE


def test_without_scripts_it_reads_and_filters(visit: Visit) -> None:
    page = visit("/alt-texts?state=all", java_script_enabled=False)
    expect(field(page, 101)).to_have_value(COFFEE)
    expect(page.locator("button:visible")).to_have_text(["Filter"])
    page.get_by_label("Written by").select_option("The system")
    page.get_by_role("button", name="Filter").click()
    assert order(page) == ["101", "102", "201"]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_nothing_keeps_anybody_from_using_it(visit: Visit, scheme: str, width: int) -> None:
    size = {"width": width, "height": 740}
    page = visit("/alt-texts", color_scheme=scheme, viewport=size, reduced_motion="reduce")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.get_by_text("What an alt text must not be").click()
    field(page, 101).fill("x" * 126)
    assert barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    field(page, 101).press("Escape")
    for picture in page.locator(".text img").all():
        picture.scroll_into_view_if_needed()
        page.wait_for_function(
            "i => i.complete && i.naturalWidth > 0", arg=picture.element_handle()
        )
        assert "/pictures/" in (picture.get_attribute("srcset") or "")
