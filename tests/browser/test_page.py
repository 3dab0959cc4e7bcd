"""The result page in a real browser, served by a real server."""

import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from api.main import create
from tests.browser.conftest import Visit, served
from tests.shops import open_shops

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is served."""
    shops = open_shops(tmp_path_factory.mktemp("shops"))
    shops.warm_up()
    with served(create(lambda: shops)) as address:
        yield address


def card(page: Page, docid: str) -> Locator:
    return page.locator(f'[data-docid="{docid}"]')


def hero(page: Page, docid: str) -> Locator:
    return card(page, docid).locator(".slide:not([hidden]) img")


def search(page: Page, query: str) -> None:
    page.get_by_role("combobox").fill(query)
    page.get_by_role("combobox").press("Enter")
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")


def test_a_search_changes_the_picture_and_the_address(visit: Visit) -> None:
    page = visit()
    expect(hero(page, "cafe")).to_have_attribute("alt", "A cup of coffee at cafe")
    search(page, "pet shop")
    expect(hero(page, "cafe")).to_have_attribute("alt", "A pet cat at cafe")
    assert page.url.endswith("/?query=pet+shop")
    expect(page.get_by_role("status")).to_have_text("5 businesses for Pet Shops")
    page.go_back()
    expect(hero(page, "cafe")).to_have_attribute("alt", "A cup of coffee at cafe")
    expect(page.get_by_role("combobox")).to_have_value("")


def test_a_misspelt_search_is_understood_and_says_how(visit: Visit) -> None:
    page = visit()
    search(page, "cofee")
    expect(page.get_by_role("heading", level=1)).to_have_text("Coffee Shops")
    expect(page.locator(".head")).to_contain_text("by its spelling")
    expect(hero(page, "museum")).to_have_attribute("alt", "A cup of coffee at museum")
    expect(card(page, "museum").locator(".badge")).to_have_text("Scored live")


def test_suggestions_can_be_chosen_by_keys(visit: Visit) -> None:
    page = visit()
    box = page.get_by_role("combobox")
    box.press_sequentially("pe")
    expect(page.get_by_role("option")).to_have_text(["Pet Grooming", "Pet Shops"])
    expect(box).to_have_attribute("aria-expanded", "true")
    box.press("ArrowDown")
    box.press("ArrowDown")
    expect(page.get_by_role("option", selected=True)).to_have_text("Pet Shops")
    box.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Pet Shops")
    expect(page.get_by_role("listbox")).to_be_hidden()
    expect(box).to_have_value("Pet Shops")


def test_suggestions_can_be_chosen_by_mouse_and_sent_away_by_escape(visit: Visit) -> None:
    page = visit()
    box = page.get_by_role("combobox")
    box.press_sequentially("mus")
    expect(page.get_by_role("option")).to_be_visible()
    box.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    box.press_sequentially("e")
    page.get_by_role("option", name="Museums").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Museums")


def test_a_thumbnail_shows_its_picture_by_click_and_by_keys(visit: Visit) -> None:
    page = visit()
    thumbs = card(page, "cafe").locator(".thumb")
    expect(thumbs).to_have_count(3)
    before = hero(page, "cafe").get_attribute("src")
    thumbs.nth(1).click()
    expect(thumbs.nth(1)).to_have_attribute("aria-current", "true")
    second = hero(page, "cafe").get_attribute("src")
    assert second != before
    page.keyboard.press("ArrowRight")
    expect(thumbs.nth(2)).to_be_focused()
    assert hero(page, "cafe").get_attribute("src") not in (before, second)
    page.keyboard.press("ArrowRight")
    expect(thumbs.nth(0)).to_be_focused()
    assert hero(page, "cafe").get_attribute("src") == before
    # Its own numbers come with it.
    expect(card(page, "cafe").locator(".panel:not([hidden])")).to_have_count(1)


def test_before_and_after_can_be_compared(visit: Visit) -> None:
    page = visit()
    card(page, "cafe").get_by_role("button", name="Before / after").click()
    viewer = page.get_by_role("dialog")
    expect(viewer).to_be_visible()
    expect(viewer).to_contain_text("Before 600 \u00d7 400")
    expect(viewer).to_contain_text("After 1200 \u00d7 800")
    slider = viewer.get_by_role("slider")
    handle = viewer.locator(".compare-handle")
    middle = handle.bounding_box()
    slider.press("End")
    expect(slider).to_have_value("100")
    right = handle.bounding_box()
    assert middle and right and right["x"] > middle["x"] + 100
    place = viewer.locator(".compare").bounding_box()
    assert place
    page.mouse.click(place["x"] + place["width"] * 0.2, place["y"] + place["height"] / 2)
    left = handle.bounding_box()
    assert left
    assert left["x"] == pytest.approx(place["x"] + place["width"] * 0.2, abs=12)
    shown = viewer.locator("img").last.evaluate("image => getComputedStyle(image).clipPath")
    assert "inset(0px 0px 0px " in shown
    sizes = viewer.locator("img").evaluate_all("all => all.map(i => [i.width, i.height])")
    assert sizes[0] == sizes[1]
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()


def test_pictures_without_an_enhanced_version_offer_no_comparison(visit: Visit) -> None:
    page = visit()
    expect(card(page, "museum").get_by_role("button", name="Before / after")).to_have_count(0)


def test_the_why_drawer_explains_the_picture_that_is_shown(visit: Visit) -> None:
    page = visit()
    card(page, "cafe").get_by_text("Why this picture").locator("visible=true").click()
    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("90\u202f% relevant to Coffee Shops")
    assert drawer.locator(".bar").count() >= 4
    page.get_by_role("button", name="Close").locator("visible=true").click()
    expect(drawer).to_be_hidden()
    card(page, "museum").get_by_text("Why this picture").locator("visible=true").click()
    expect(drawer).to_contain_text("by the rule set")


def test_the_alt_text_is_shown_on_demand(visit: Visit) -> None:
    page = visit()
    caption = card(page, "cafe").locator(".slide:not([hidden]) .caption")
    expect(caption).to_be_hidden()
    button = card(page, "cafe").get_by_role("button", name="Alt text")
    button.click()
    expect(caption).to_have_text("A cup of coffee at cafe")
    expect(button).to_have_attribute("aria-pressed", "true")


def test_badges_tell_scores_from_the_rule_set(visit: Visit) -> None:
    page = visit()
    expect(card(page, "cafe").locator(".badge")).to_have_text("Scored")
    expect(card(page, "museum").locator(".badge")).to_have_text("Rule set")
    expect(card(page, "garage").locator(".badge")).to_have_text("Mixed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/?query=motorcycle+dealers", "/?query=xyzzy+plugh"])
def test_nothing_overflows_on_a_small_phone(visit: Visit, path: str, scheme: str) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "reduced_motion": "reduce"}
    page = visit(path, color_scheme=scheme, **phone)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width == 360
    card(page, "cafe").get_by_text("Why this picture").locator("visible=true").click()
    place = page.get_by_role("dialog").bounding_box()
    assert place
    assert (round(place["x"]), round(place["width"])) == (0, 360)


def test_every_image_has_an_alt_text_a_size_and_pixels(visit: Visit) -> None:
    page = visit()
    images = page.locator("img")
    assert images.count() > 10
    for image in images.all():
        assert image.get_attribute("alt")
        assert int(image.get_attribute("width") or 0) > 0
        assert int(image.get_attribute("height") or 0) > 0
    for docid in ("cafe", "museum", "garage"):
        picture = hero(page, docid)
        picture.scroll_into_view_if_needed()
        page.wait_for_function(
            "i => i.complete && i.naturalWidth > 0", arg=picture.element_handle()
        )


def test_without_scripts_the_page_still_reads_and_searches(visit: Visit) -> None:
    page = visit(java_script_enabled=False)
    page.get_by_role("combobox").fill("pet shop")
    page.get_by_role("button", name="Search").click()
    expect(hero(page, "cafe")).to_have_attribute("alt", "A pet cat at cafe")
    # What is hidden is so by a style sheet, which may come after the text.
    page.wait_for_load_state()
    card(page, "cafe").get_by_text("Why this picture").locator("visible=true").click()
    expect(card(page, "cafe")).to_contain_text("relevant to Pet Shops")


def test_while_results_are_on_their_way_a_skeleton_stands_in(visit: Visit) -> None:
    page = visit()
    asked = threading.Event()

    def hold(route: Route) -> None:
        expect(page.locator(".bone").first).to_be_visible()
        asked.set()
        route.continue_()

    page.route("**/results?*", hold)
    search(page, "pet shop")
    expect(hero(page, "cafe")).to_have_attribute("alt", "A pet cat at cafe")
    assert asked.is_set()


def test_results_that_cannot_be_fetched_can_be_asked_for_again(
    browser: Browser, address: str
) -> None:
    # Not through `visit`: the browser itself complains about the lost connection.
    page = browser.new_page()
    page.goto(address)
    page.route("**/results?*", lambda route: route.abort())
    page.get_by_role("combobox").fill("pet shop")
    page.get_by_role("combobox").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("could not be fetched")
    page.unroute("**/results?*")
    page.get_by_role("button", name="Try again").click()
    expect(hero(page, "cafe")).to_have_attribute("alt", "A pet cat at cafe")
    page.close()
