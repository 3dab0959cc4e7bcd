"""A picture of the result page: ``python docs/screenshot.py docs/page.jpg``.

Without ``--address`` the demo's system is started, with the demo's photos, for as long as it takes.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Page, sync_playwright

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTH, HEIGHT = 1280, 900
MOST_BYTES = 300_000
QUALITIES = (85, 75, 65, 55, 45, 35, 25)
LIMIT_MS = 30_000

# Pictures below the fold are loaded when they come near it, and the shot holds what is above it.
ALL_LOADED = """() => [...document.images]
    .filter((image) => {
        const box = image.getBoundingClientRect();
        return box.width && box.top < innerHeight && box.bottom > 0;
    })
    .every((image) => image.complete && image.naturalWidth)"""


@contextmanager
def served(address: str) -> Iterator[str]:
    """The address given, or that of the demo's system, which ends with the block."""
    if address:
        yield address.rstrip("/")
        return
    from cli.demo import site

    with site() as running:
        yield running.address.rstrip("/")


def shoot(page: Page) -> bytes:
    """The visible part of the page as JPEG, in the best quality that is small enough."""
    for quality in QUALITIES:
        picture = page.screenshot(type="jpeg", quality=quality, animations="disabled")
        if len(picture) < MOST_BYTES:
            return picture
    raise SystemExit(f"the picture does not become smaller than {MOST_BYTES} bytes")


def main() -> None:
    """Open the page, wait for its pictures, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="the JPEG to write")
    parser.add_argument("--address", default="", help="of a running system; none: the demo's")
    parser.add_argument("--query", default="cofee", help="what to search for")
    options = parser.parse_args()

    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is missing: apt-get install chromium")
    with served(options.address) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(f"{address}/?{urlencode({'query': options.query})}")
        page.locator(".card").first.wait_for(timeout=LIMIT_MS)
        page.wait_for_function(ALL_LOADED, timeout=LIMIT_MS)
        picture = shoot(page)
        browser.close()
    options.target.parent.mkdir(parents=True, exist_ok=True)
    options.target.write_bytes(picture)
    sys.stdout.write(f"{options.target}: {len(picture) / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
