"""Uploading in a real browser: photos go through a real worker and are shown at the end."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from api.main import create
from api.wiring import Services
from pipeline.graph import Sender
from tests.browser.conftest import Visit, served
from tests.fast_models import RAISES
from tests.pictures import encoded, plain
from tests.services.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.services]

# As long as a worker may take to start on a busy machine.
LONG = 90_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker, stores, and a worker for all queues."""
    site = Site(tmp_path_factory.mktemp("site"))
    site.worker()
    yield site
    site.close()


@pytest.fixture(scope="module")
def address(site: Site) -> Iterator[str]:
    """Where its pages are served."""
    services = Services(site.settings, Sender(site.app))
    with served(create(lambda: services)) as address:
        yield address


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of files: two photos, two that cannot be enhanced, a broken one, and no photo.

    All look the same to a perceptual hash, which knows no colours, unless they are turned over.
    """
    files = {
        "green.png": encoded(plain((40, 160, 60), 320, 240)),
        "grey.jpg": encoded(plain((120, 120, 120), 320, 240)[:, ::-1], "JPEG"),
        "blue.png": encoded(plain(RAISES, 320, 240)[::-1]),
        "like green.png": encoded(plain(RAISES, 320, 240)),
        "broken.jpg": b"\xff\xd8\xff" + bytes(1000),
        "notes.txt": b"no photo",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def choose(page: Page, folder: Path, *names: str) -> None:
    page.locator("#files").set_input_files([folder / name for name in names])


def row(page: Page, name: str) -> Locator:
    return page.locator(".photo").filter(has=page.get_by_text(name, exact=True))


def test_photos_of_a_new_business_go_through_the_stages_and_are_shown(
    visit: Visit, photos: Path
) -> None:
    page = visit("/upload")
    page.get_by_label("The business").fill("Green & Grey")
    page.get_by_role("option", name="Create").click()
    categories = page.get_by_label("What it is listed under")
    categories.fill("Gr")
    page.get_by_role("option", name="Green Paint").click()
    categories.fill("Walls")
    # What is suggested lies over the button until the field is left.
    categories.press("Tab")
    page.get_by_role("button", name="Create the business").click()
    expect(page.locator("[data-chosen]")).to_contain_text("Green & Grey")

    choose(page, photos, *(path.name for path in photos.iterdir()))
    expect(page.get_by_role("alert").filter(has_text="notes.txt")).to_contain_text("a .txt file")
    page.get_by_role("button", name="Upload 5 photos").click()
    expect(page.get_by_role("status")).to_have_text(
        "5 photos are through, 1 of them in vain", timeout=LONG
    )

    for name in ("green.png", "grey.jpg"):
        photo = row(page, name)
        expect(photo.locator(".tag")).to_have_text("Done")
        expect(photo.locator(".stages .is-done")).to_have_count(6)
    expect(row(page, "green.png").locator(".photo-words")).to_contain_text("Quality")
    expect(row(page, "blue.png").locator(".tag")).to_have_text("Done, in part")
    expect(row(page, "blue.png").locator(".photo-words")).to_have_text(
        re.compile("Quality .* cannot be enhanced")
    )
    expect(row(page, "like green.png").locator(".tag")).to_have_text("Done, in part, not shown")
    expect(row(page, "like green.png").locator(".photo-words")).to_have_text(
        re.compile("looks the same as another one.* cannot be enhanced")
    )
    expect(row(page, "broken.jpg").locator(".tag")).to_have_text("Failed")
    expect(row(page, "broken.jpg").locator(".photo-words")).to_have_text(
        re.compile("^not an image")
    )

    page.get_by_role("link", name="See Green & Grey").click()
    card = page.locator(".card").first
    expect(card.locator(".name")).to_have_text("Green & Grey")
    expect(card.locator(".slide:not([hidden]) img")).to_have_js_property("complete", True)
    assert card.locator(".slide:not([hidden]) img").evaluate("image => image.naturalWidth") > 0


def test_a_known_business_is_found_and_photos_added_by_keyboard(visit: Visit, photos: Path) -> None:
    page = visit("/upload")
    page.get_by_label("The business").focus()
    page.keyboard.type("paint")
    expect(page.get_by_role("option", name="The Paint Shop")).to_contain_text("Red Paint")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("[data-chosen]")).to_contain_text("The Paint Shop")
    choose(page, photos, "green.png")
    page.get_by_role("button", name="Leave out green.png").press("Enter")
    expect(page.locator(".photo")).to_have_count(0)
    expect(page.locator("#files")).to_be_focused()
    choose(page, photos, "grey.jpg", "grey.jpg")
    page.get_by_role("button", name="Upload 1 photo").press("Enter")
    expect(row(page, "grey.jpg").locator(".tag")).to_have_text("Done", timeout=LONG)
    expect(page.get_by_role("link", name="See The Paint Shop")).to_be_visible()


def test_a_photo_that_could_not_be_sent_can_be_sent_again(visit: Visit, photos: Path) -> None:
    page = visit("/upload?docid=shop-1")
    expect(page.locator("[data-chosen]")).to_contain_text("The Paint Shop")
    choose(page, photos, "green.png")
    # With a status of its own, which the browser itself would complain of in the console.
    page.route(
        "**/v1/images",
        lambda route: route.fulfill(
            status=200,
            content_type="application/problem+json",
            body='{"title": "No", "detail": "The broker is away."}',
        ),
    )
    page.get_by_role("button", name="Upload 1 photo").click()
    expect(row(page, "green.png")).to_contain_text("Not sent")
    expect(row(page, "green.png")).to_contain_text("The broker is away.")
    page.unroute("**/v1/images")
    page.get_by_role("button", name="Try again: green.png").click()
    expect(row(page, "green.png").locator(".tag")).to_have_text("Done", timeout=LONG)
