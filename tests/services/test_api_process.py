"""What the processes of the web applications weigh, and what they tell of themselves."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.processes import web
from pipeline.settings import Settings
from tests.services.servers import free_port
from tests.shops import SHOPS, open_shops

pytestmark = pytest.mark.services

PROCESSES = 2
PAGES = 100
MOST_MB = 400
LIMIT = 90.0


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """All applications over a small directory, warmed up, and the parent of their processes."""
    open_shops(tmp_path).close()
    port = free_port()
    started = web(Settings(data_dir=tmp_path, api_processes=PROCESSES), "api.main:app", port)
    environment = {**os.environ, **started.environment, "JUSTLENS_DATA_DIR": str(tmp_path)}
    log = (tmp_path / "api.log").open("wb")
    with log, subprocess.Popen(started.command, env=environment, stdout=log, stderr=log) as process:
        try:
            # A new connection each time, which either process may take.
            limits = httpx.Limits(max_keepalive_connections=0)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", limits=limits) as client:
                _wait_until_warm(client)
                yield client, psutil.Process(process.pid)
        finally:
            process.terminate()


def _wait_until_warm(client: httpx.Client) -> None:
    in_a_row, deadline = 0, time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            is_warm = client.get("/ready").json()["checks"]["text_encoder"] == "ok"
        except httpx.TransportError:
            is_warm = False
        in_a_row = in_a_row + 1 if is_warm else 0
        if in_a_row == 10:
            return
        time.sleep(0.05)
    raise TimeoutError("the applications did not warm up")


def test_they_answer_pages_within_400_mb_each_without_torch_and_count_them_together(
    api: tuple[httpx.Client, psutil.Process],
) -> None:
    client, parent = api
    docids = [shop.business.docid for shop in SHOPS]
    for number in range(PAGES):
        page = {"docids": docids, "query": f"cofee {number}"}
        assert client.post("/v1/relevance", json=page).status_code == 200
    answering = [process for process in parent.children() if _maps(process, "onnxruntime")]
    assert len(answering) == PROCESSES
    for process in answering:
        assert process.memory_info().rss < MOST_MB * 1e6
        assert not _maps(process, "torch")
    assert _answered(client.get("/metrics").text, "/v1/relevance") == PAGES


def _maps(process: psutil.Process, library: str) -> bool:
    return any(library in Path(part.path).name for part in process.memory_maps())


def _answered(figures: str, route: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(figures)
        for sample in family.samples
        if sample.name == "justlens_requests_total" and sample.labels["route"] == route
    )
