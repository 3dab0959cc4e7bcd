"""The result page and the upload for everybody: by keyboard, by screen reader, on a small phone."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from api.main import create
from tests.browser.conftest import Visit, barriers, served
from tests.shops import open_shops

pytestmark = pytest.mark.browser

PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the pages are served."""
    shops = open_shops(tmp_path_factory.mktemp("shops"))
    shops.warm_up()
    with served(create(lambda: shops)) as address:
        yield address


def focused(page: Page) -> str:
    """What the keyboard is at, in words."""
    return page.evaluate(
        """() => {
            const at = document.activeElement;
            return at.getAttribute("aria-label") || at.textContent.trim() || at.id || at.tagName;
        }"""
    )


def walk(page: Page, to: str, limit: int = 60) -> None:
    """Press Tab until what the keyboard is at begins with these words."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if focused(page).startswith(to):
            return
    pytest.fail(f"Tab does not come to {to!r}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_keeps_people_from_using_the_pages(
    visit: Visit, viewport: dict[str, int], scheme: str
) -> None:
    page = visit("/?query=cofee", viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
    assert barriers(page) == []
    cafe = page.locator('[data-docid="cafe"]')
    cafe.get_by_text("Why this picture").locator("visible=true").click()
    assert barriers(page, "#why") == []
    page.keyboard.press("Escape")
    cafe.get_by_role("button", name="Before / after").click()
    assert barriers(page, "#compare") == []
    page.keyboard.press("Escape")
    page.get_by_role("combobox").fill("pe")
    expect(page.get_by_role("option").first).to_be_visible()
    assert barriers(page, "#search") == []
    page.get_by_role("link", name="Upload").click()
    page.wait_for_url("**/upload")
    page.get_by_label("The business").fill("New place")
    page.get_by_label("The business").press("Enter")
    page.get_by_label("What it is listed under").fill("Tea")
    page.get_by_label("What it is listed under").press("Enter")
    page.locator("#files").set_input_files(
        [
            {"name": "a.txt", "mimeType": "text/plain", "buffer": b"words"},
            {"name": "b.png", "mimeType": "image/png", "buffer": b"pixels"},
        ]
    )
    expect(page.get_by_role("button", name="Upload 1 photo")).to_be_visible()
    assert barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]


def test_the_page_is_used_by_keyboard_alone(visit: Visit) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    walk(page, "query")
    page.keyboard.type("pet sh")
    # The first one, once what is offered is for all that was typed.
    expect(page.get_by_role("option").first).to_have_text("Pet Shops")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Pet Shops")
    walk(page, "Next picture of Corner Café")
    before = page.locator('[data-docid="cafe"] .slide:not([hidden]) img').get_attribute("src")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    shown = page.locator('[data-docid="cafe"] .slide:not([hidden]) img')
    assert shown.get_attribute("src") != before
    walk(page, "Why this picture")
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog")
    expect(drawer).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    assert focused(page) == "Why this picture"
    walk(page, "Before / after")
    page.keyboard.press("Enter")
    expect(page.get_by_role("slider")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("slider")).to_have_value("51")
    page.keyboard.press("Escape")
    assert focused(page) == "Before / after"


def test_what_the_keyboard_is_at_is_always_to_be_seen(visit: Visit) -> None:
    page = visit("/?query=coffee", viewport=PHONE)
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        at = page.evaluate(
            """() => {
                const at = document.activeElement;
                if (at === document.body) return null;
                const box = at.getBoundingClientRect();
                const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
                const top = document.elementFromPoint(x, y);
                const style = getComputedStyle(at);
                const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
                return {
                    name: at.getAttribute("aria-label") || at.textContent.trim() || at.id,
                    hidden: !(top === at || at.contains(top) || top?.contains(at)),
                    ring,
                    height: box.height,
                };
            }"""
        )
        if at is None:
            break
        assert not at["hidden"], at
        assert at["ring"], at
        assert at["height"] >= 24, at
        seen.add(at["name"])
    assert len(seen) > 15


@pytest.mark.parametrize("path", ["/", "/?query=cofee", "/upload"])
def test_headings_and_landmarks_tell_the_page_apart(visit: Visit, path: str) -> None:
    page = visit(path)
    assert page.evaluate("document.documentElement.lang") == "en"
    for role in ("banner", "main", "contentinfo", "navigation"):
        assert page.get_by_role(role).count() >= 1, role
    levels = page.locator("h1:visible, h2, h3").evaluate_all(
        "all => all.filter(h => !h.closest('dialog')).map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    current = page.get_by_role("navigation", name="Pages").locator("[aria-current=page]")
    expect(current).to_have_count(1)


def test_whoever_wants_less_motion_gets_none(visit: Visit) -> None:
    page = visit("/?query=cofee", reduced_motion="reduce")
    durations = page.locator("body *").evaluate_all(
        """all => all.map(e => getComputedStyle(e)).flatMap(
            s => [s.animationName !== "none", s.transitionDuration !== "0s"])"""
    )
    assert not any(durations)
