"""How people come in where everybody needs a key."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from api.main import create
from api.wiring import Services
from pipeline.api_keys import Scope, make_key
from tests.browser.conftest import Visit, served
from tests.shops import open_shops

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """Shops that everybody needs a key for."""
    services = open_shops(tmp_path_factory.mktemp("closed"))
    services.settings = services.settings.model_copy(update={"open_to": "nobody"})
    return services


@pytest.fixture(scope="module")
def address(closed: Services) -> Iterator[str]:
    with served(create(lambda: closed)) as own:
        yield own


def test_people_sign_in_with_a_key_and_out_again(visit: Visit, closed: Services) -> None:
    text, key = make_key("Search team", [Scope.READ])
    closed.stores.keys.save(key)
    page = visit("/?query=coffee")
    page.get_by_label("Your key").fill(text)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator('[data-docid="cafe"]').first).to_be_visible()
    assert page.url.endswith("/?query=coffee")
    page.goto(page.url.replace("/?query=coffee", "/operations"))
    expect(page.get_by_text("does not open this page")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.goto(page.url.replace("/sign-in", "/"))
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
