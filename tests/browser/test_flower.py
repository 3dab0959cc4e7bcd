"""Flower in a real browser, beside a real worker that has done some tasks."""

import subprocess
import sys
from collections.abc import Iterator

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from pipeline.queues import Stage
from pipeline.records import ImageState
from tests.services.conftest import ROOT, Site, site  # noqa: F401 - a fixture
from tests.services.servers import free_port

pytestmark = [pytest.mark.browser, pytest.mark.services]

USER, PASSWORD = "operator", "correct-horse"


@pytest.fixture
def flower(site: Site) -> Iterator[str]:  # noqa: F811
    """The address of Flower; a worker has sent a picture through all stages while it looked on."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with (site.folder / "flower.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from cli import main; main()", "flower", "--port", str(port)],
            cwd=ROOT,
            env={**site.environment, "JUSTLENS_FLOWER_AUTH": f"{USER}:{PASSWORD}"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    site.processes.append(process)
    site.until(lambda: answers(f"{address}/healthcheck"), "Flower answers")
    site.worker()
    site.until(lambda: "test@" in figures(address).text, "Flower has seen the worker")
    site.take_in(1)
    site.until(lambda: site.states() == {ImageState.DONE: 1}, "the image is done")
    succeeded = f'task="{Stage.ALT_TEXT.value}",type="task-succeeded"'
    site.until(lambda: succeeded in figures(address).text, "Flower has seen the last stage")
    assert PASSWORD not in " ".join(psutil.Process(process.pid).cmdline())
    yield address


@pytest.fixture
def page(browser: Browser, flower: str) -> Iterator[Page]:
    """A page of somebody who knows the password."""
    context = browser.new_context(
        base_url=flower, http_credentials={"username": USER, "password": PASSWORD}
    )
    yield context.new_page()
    context.close()


def answers(address: str) -> bool:
    try:
        return httpx.get(address).is_success
    except httpx.HTTPError:
        return False


def figures(address: str, auth: tuple[str, str] | None = (USER, PASSWORD)) -> httpx.Response:
    return httpx.get(f"{address}/metrics", auth=auth)


def test_an_operator_sees_workers_and_tasks_and_nobody_else_does(page: Page, flower: str) -> None:
    page.goto("/tasks")
    rows = page.locator("#tasks-table tbody tr")
    for stage in Stage:
        row = rows.filter(has_text=stage.value)
        expect(row).to_have_count(1)
        expect(row).to_contain_text("SUCCESS")
        expect(row).to_contain_text("shop-1/1")
    page.goto("/workers")
    worker = page.locator("#workers-table tbody tr").filter(has_text="test@")
    expect(worker).to_contain_text("Online")

    answer = figures(flower)
    assert answer.status_code == 200
    assert "flower_worker_online{" in answer.text
    for path in ("/", "/tasks", "/workers", "/metrics", "/api/workers"):
        for auth in (None, (USER, "wrong")):
            assert httpx.get(flower + path, auth=auth).status_code == 401, path
