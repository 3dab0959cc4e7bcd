"""The page of retraining in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from api.main import create
from api.wiring import Services
from pipeline.retraining.history import Metric, remember
from pipeline.settings import Settings
from pipeline.text_spaces import TextSpaces, put_in_force
from tests.browser.conftest import Visit, barriers, served
from tests.shops import Outbox
from tests.unit.retraining.test_history import trial
from tests.unit.retraining.test_verdict import comparisons

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """Embedded stores with two trials and a challenger whose scores have drifted."""
    services = Services(Settings(data_dir=tmp_path_factory.mktemp("site")), Outbox())
    latency = {"champion": 190.0, "challenger": 230.5, "unit": "ms", "is_better": "lower"}
    guards = [
        Metric(name="STS-B Spearman", role="guard", champion=0.82, challenger=0.818, limit=0.81,
               passed=True),
        Metric(name="Encoding 128 texts", role="guard", **latency, limit=220.0, passed=False),
    ]  # fmt: skip
    refused = trial("text8", 2e9, promoted=False, reasons=["Encoding is too slow"])
    refused = refused.model_copy(update={"metrics": [*refused.metrics, *guards]})
    for one in (trial("text7", 1.9e9), refused):
        remember(services.stores.documents, one)
    put_in_force(services.stores.documents, TextSpaces(serving="text7.0123456789ab", previous=""))
    services.stores.shadow.save(comparisons(failed=9, shifted=0.15, same=0.8))
    return services


@pytest.fixture(scope="module")
def address(services: Services) -> Iterator[str]:
    """Where the page is served."""
    services.text_encoder.load()
    with served(create(lambda: services)) as address:
        yield address


def test_champion_and_challenger_stand_side_by_side(visit: Visit) -> None:
    page = visit("/retraining")
    expect(page.get_by_role("link", name="Retraining")).to_have_attribute("aria-current", "page")
    measured = page.get_by_role("region", name="Champion and challenger").first
    row = measured.get_by_role("row").filter(has_text="MRR@10, rare words")
    expect(row.get_by_role("cell").nth(0)).to_have_text("0.720")
    expect(row.get_by_role("cell").nth(1)).to_have_text("0.750")
    expect(row.get_by_role("img")).to_have_accessible_name(
        "Gain +4.1\u202f%, 95 % interval +2.1\u202f% to +6.3\u202f%; at least +2.0\u202f% is wanted"
    )
    slow = measured.get_by_role("row").filter(has_text="Encoding 128 texts")
    expect(slow).to_contain_text("not kept")


def test_each_plot_says_in_words_what_it_shows_and_has_its_figures(visit: Visit) -> None:
    page = visit("/retraining")
    plots = page.get_by_role("figure")
    expect(plots).to_have_count(4)
    for plot in plots.all():
        assert plot.get_by_role("img").count() >= 1
        for drawing in plot.get_by_role("img").all():
            assert drawing.get_attribute("aria-label")
            assert drawing.bounding_box()["height"] >= 14
    expect(plots.first.get_by_role("table")).to_be_hidden()
    page.get_by_text("The figures").click()
    expect(plots.first.get_by_role("table").get_by_role("row")).to_have_count(11)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360), ("dark", 820)])
def test_nothing_keeps_anybody_from_reading_it(visit: Visit, scheme: str, width: int) -> None:
    page = visit(
        "/retraining",
        color_scheme=scheme,
        viewport={"width": width, "height": 740},
        reduced_motion="reduce",
    )
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.get_by_text("The figures").click()
    assert barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_it_needs_no_script(visit: Visit) -> None:
    page = visit("/retraining", java_script_enabled=False)
    expect(page.get_by_role("heading", name="What was decided")).to_be_visible()
    expect(page.get_by_role("figure").first.get_by_role("img")).to_be_visible()
