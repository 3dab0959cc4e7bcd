"""Pictures of the result page, light and dark: ``python docs/screenshot.py docs/page``.

Without ``--address`` a system is started, with photos that installed packages carry, for as long as
it takes.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

from playwright.sync_api import Browser, sync_playwright

from cli.demo import Shop, site

# Three that answer the query, each with other pictures for other queries; then two that do not.
SHOPS: tuple[Shop, ...] = (
    (
        "apollo-house",
        "Apollo House",
        ("Space Museums", "Coffee Shops"),
        ("skimage/astronaut.png", "skimage/coffee.png"),
    ),
    (
        "deep-field",
        "Deep Field Planetarium",
        ("Space Museums", "Cinemas"),
        ("skimage/hubble_deep_field.jpg", "sklearn/flower.jpg"),
    ),
    (
        "launch-pad",
        "The Launch Pad",
        ("Space Museums", "Motorcycle Dealers"),
        ("skimage/rocket.jpg", "skimage/motorcycle_left.png", "skimage/brick.png"),
    ),
    (
        "cat-and-flower",
        "The Cat & Flower Café",
        ("Coffee Shops", "Florists", "Pet Shops"),
        ("skimage/chelsea.png", "skimage/coffee.png", "sklearn/flower.jpg"),
    ),
    (
        "pagoda",
        "Pagoda Travel",
        ("Travel Agents", "Temples"),
        ("sklearn/china.jpg", "skimage/motorcycle_right.png"),
    ),
)
QUERY = "spase museum"

ColorScheme = Literal["light", "dark"]

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTH, HEIGHT = 1280, 900
MOST_BYTES = 300_000
QUALITIES = (88, 80, 70, 60, 50, 40, 30)
LIMIT_MS = 30_000
SCHEMES: tuple[ColorScheme, ...] = ("light", "dark")

# Pictures below the fold are loaded when they come near it, and the shot holds what is above it.
ALL_LOADED = """() => [...document.images]
    .filter((image) => {
        const box = image.getBoundingClientRect();
        return box.width && box.top < innerHeight && box.bottom > 0;
    })
    .every((image) => image.complete && image.naturalWidth)"""


@contextmanager
def served(address: str) -> Iterator[str]:
    """The address given, or that of a system of our own, which ends with the block."""
    if address:
        yield address.rstrip("/")
        return
    with site(shops=SHOPS, name="screenshot") as running:
        yield running.address.rstrip("/")


def shoot(browser: Browser, address: str, scheme: ColorScheme) -> bytes:
    """The upper part of a page as JPEG, in the best quality that is small enough."""
    page = browser.new_page(
        viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme, reduced_motion="reduce"
    )
    page.goto(address)
    page.locator(".card").first.wait_for(timeout=LIMIT_MS)
    page.wait_for_function(ALL_LOADED, timeout=LIMIT_MS)
    for quality in QUALITIES:
        picture = page.screenshot(type="jpeg", quality=quality)
        if len(picture) < MOST_BYTES:
            page.close()
            return picture
    raise SystemExit(f"the picture does not become smaller than {MOST_BYTES} bytes")


def main() -> None:
    """Open the page in both schemes, wait for its pictures, write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", help="the files' names without -light.jpg and -dark.jpg")
    parser.add_argument("--address", default="", help="of a running system; none: one of our own")
    parser.add_argument("--query", default=QUERY, help="what to search for")
    options = parser.parse_args()

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is missing: apt-get install chromium")
    with served(options.address) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        for scheme in SCHEMES:
            picture = shoot(browser, f"{address}/?{urlencode({'query': options.query})}", scheme)
            target = Path(f"{options.target}-{scheme}.jpg")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(picture)
            sys.stdout.write(f"{target}: {len(picture) / 1000:.0f} kB\n")
        browser.close()


if __name__ == "__main__":
    main()
