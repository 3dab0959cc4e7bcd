"""What a process of the web applications weighs."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.services.servers import free_port
from tests.shops import SHOPS, open_shops

pytestmark = pytest.mark.services

MOST_MB = 400
LIMIT = 90.0


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """All applications over a small directory, warmed up."""
    open_shops(tmp_path).close()
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "api.main:app", "--port", str(port)]
    environment = {**os.environ, "JUSTLENS_DATA_DIR": str(tmp_path)}
    log = (tmp_path / "api.log").open("wb")
    with log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                _wait_until_warm(client)
                yield client, psutil.Process(process.pid)
        finally:
            process.terminate()


def _wait_until_warm(client: httpx.Client) -> None:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            if client.get("/ready").json()["checks"]["text_encoder"] == "ok":
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the applications did not warm up")


def test_it_answers_pages_within_400_mb_and_without_torch(
    api: tuple[httpx.Client, psutil.Process],
) -> None:
    client, process = api
    docids = [shop.business.docid for shop in SHOPS]
    for number in range(200):
        page = {"docids": docids, "query": f"cofee {number}"}
        assert client.post("/v1/relevance", json=page).status_code == 200
    assert process.memory_info().rss < MOST_MB * 1e6
    loaded = {Path(part.path).name for part in process.memory_maps()}
    assert any("onnxruntime" in name for name in loaded)
    assert not any("torch" in name for name in loaded)
