"""One id in the logs of real processes, from an upload to the last stage."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.processes import web
from pipeline.queues import Stage
from pipeline.records import ImageState
from tests.pictures import green
from tests.services.conftest import Site
from tests.services.servers import free_port

pytestmark = pytest.mark.services

JSON = {"JUSTLENS_LOG_FORMAT": "json"}


@pytest.fixture
def api(any_site: Site) -> Iterator[httpx.Client]:
    """The ingest application of the site, in a process of its own."""
    port = free_port()
    command = web(any_site.settings, "api.ingest:app", port).command
    environment = {**any_site.environment, **JSON}
    log = (any_site.folder / "api.log").open("wb")
    with log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                any_site.until(lambda: _answers(client), "the application answers")
                yield client
        finally:
            process.terminate()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        return False


def lines(log: Path, correlation_id: str) -> list[dict[str, Any]]:
    """The lines of a log that have the id as theirs."""
    told = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in told if line.get("correlation_id") == correlation_id]


def test_an_upload_is_followed_by_its_id_through_all_stages(
    any_site: Site, api: httpx.Client
) -> None:
    site = any_site
    site.worker(**JSON)
    for product_id, content in ((1, green(1)), (2, b"not an image")):
        answer = api.post(
            "/v1/images",
            data={"docid": "shop-1", "product_id": str(product_id)},
            files={"file": ("a.jpg", content)},
            headers={"X-Correlation-ID": f"import-{product_id}"},
        )
        assert answer.status_code == 202
        assert answer.headers["x-correlation-id"] == f"import-{product_id}"
    ended = {ImageState.DONE: 1, ImageState.FAILED: 1}
    site.until(lambda: site.states() == ended, "both have ended")

    def told_of_the_last_stage() -> bool:
        stages = [line["task"] for line in lines(site.folder / "test.log", "import-1")]
        return Stage.ALT_TEXT.value in stages

    site.until(told_of_the_last_stage, "the worker has written so")
    (queued,) = lines(site.folder / "api.log", "import-1")
    assert queued["message"].startswith("queued shop-1/1 from image_enhance_process")
    of_worker = lines(site.folder / "test.log", "import-1")
    assert {line["task"] for line in of_worker} == {stage.value for stage in Stage}
    assert {(line["docid"], line["product_id"]) for line in of_worker} == {("shop-1", 1)}

    failed = [line["message"] for line in lines(site.folder / "test.log", "import-2")]
    assert any("UndecodableImage" in message for message in failed)
    (letter,) = site.parked(Stage.ENHANCE.value)
    assert letter["correlation_id"] == "import-2"
    (record,) = site.stores.documents.dead_letters(limit=10)
    assert record.correlation_id == "import-2"
