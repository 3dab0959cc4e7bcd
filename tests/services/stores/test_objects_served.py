"""Browsers are sent from the application to S3, and allowed to show what is there."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from api import catalogue, page
from api.wiring import Services, application
from pipeline.settings import Settings
from pipeline.stores.objects_s3 import S3Objects

pytestmark = pytest.mark.services

KEY = "originals/ab/abcd.png"


@pytest.fixture
def option() -> str:
    """At the end of the address of the store."""
    return ""


@pytest.fixture
def browser(
    s3_objects: S3Objects, s3_url: str, option: str, tmp_path: Path
) -> Iterator[TestClient]:
    """Asks an application whose objects are on S3; follows no redirect."""
    s3_objects.put(KEY, b"a picture")
    settings = Settings(data_dir=tmp_path, objects_url=s3_url + option, open_to="all")
    app = application(
        "Objects", "", [catalogue.router, page.router], [], lambda: Services(settings)
    )
    with TestClient(app, follow_redirects=False) as client:
        yield client


def test_an_object_is_a_redirect_to_where_it_is(browser):
    redirect = browser.get(f"/objects/{KEY}")
    assert redirect.status_code == 307
    assert redirect.headers["cache-control"] == "no-cache"
    assert httpx.get(redirect.headers["location"]).content == b"a picture"
    assert browser.get(f"/objects/{KEY}").headers["location"] == redirect.headers["location"]


def test_a_request_for_the_headers_alone_is_redirected_as_such(browser):
    redirect = browser.head(f"/objects/{KEY}")
    answer = httpx.head(redirect.headers["location"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")


def test_what_is_no_key_is_not_found(browser):
    assert browser.get("/objects/A").status_code == 404


def test_the_page_may_show_pictures_from_there(browser, s3_objects):
    assert s3_objects.origin in sources_of_pictures(browser)


@pytest.mark.parametrize("option", ["?public=no"])
def test_what_browsers_cannot_reach_is_handed_on(browser):
    answer = browser.get(f"/objects/{KEY}")
    assert (answer.status_code, answer.content) == (200, b"a picture")
    assert answer.headers["content-type"] == "image/png"
    assert sources_of_pictures(browser) == ["'self'", "blob:"]


def sources_of_pictures(browser) -> list[str]:
    """From where the page may show pictures, by its Content-Security-Policy."""
    policy = browser.get("/").headers["content-security-policy"]
    directives = (directive.split() for directive in policy.split("; "))
    return next(sources for name, *sources in directives if name == "img-src")
