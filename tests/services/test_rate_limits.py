"""Processes that share a Valkey or Redis count requests together."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.services.conftest import ROOT
from tests.services.servers import free_port

pytestmark = pytest.mark.services

LIMIT = 90.0
ALLOWED = 17


@pytest.fixture
def processes(tmp_path: Path, redis_url: str) -> Iterator[list[httpx.Client]]:
    """Two of the catalogue application, each on a port of its own."""
    environment = {
        **os.environ,
        "JUSTLENS_DATA_DIR": str(tmp_path),
        "JUSTLENS_OPEN_TO": "nobody",
        "JUSTLENS_RATE_LIMIT_ADDRESS": f"{ALLOWED}/hour",
        "JUSTLENS_RATE_LIMIT_URL": redis_url,
    }
    with ExitStack() as running:
        clients = []
        for _ in range(2):
            port = free_port()
            command = [sys.executable, "-m", "uvicorn", "api.catalogue:app", "--port", str(port)]
            process = running.enter_context(subprocess.Popen(command, cwd=ROOT, env=environment))
            running.callback(process.terminate)
            clients.append(httpx.Client(base_url=f"http://127.0.0.1:{port}"))
            running.enter_context(clients[-1])
        for client in clients:
            _until_it_answers(client)
        yield clients


def _until_it_answers(client: httpx.Client) -> None:
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            # Open to anybody, and hence not counted.
            client.get("/health").raise_for_status()
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_the_limit_of_an_address_holds_for_all_of_them(processes: list[httpx.Client]) -> None:
    path = "/v1/catalogue/shop/images"
    asked = [processes[number % 2].get(path).status_code for number in range(ALLOWED)]
    assert asked == [401] * ALLOWED
    for client in processes:
        answer = client.get(path)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 2 * 3600
