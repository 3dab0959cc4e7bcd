"""The relevancy application behind a real server, and requests that wait for nobody."""

import asyncio
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from api.problems import RETRY_AFTER
from cli.processes import web
from pipeline.settings import Settings

WARM_UP = 20
START_SECONDS = 120.0
READY_IN_A_ROW = 20


class Server:
    """The relevancy application in processes of its own, started as `justlens up` starts it.

    Args:
        place: the folder of the stores.
        processes: how many answer.
    """

    def __init__(self, place: Path, processes: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        started = web(
            Settings(data_dir=place, api_processes=processes), "api.relevancy:app", self.port
        )
        self._process = subprocess.Popen(
            started.command,
            env={**os.environ, **started.environment, "JUSTLENS_DATA_DIR": str(place)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> "Server":
        # Each time a new connection, which any of the processes may take.
        in_a_row, deadline = 0, time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            in_a_row = in_a_row + 1 if self._is_ready() else 0
            if in_a_row == READY_IN_A_ROW:
                return self
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError("the server did not become ready")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def resident_mb(self) -> float:
        """Memory in use of the process that uses most, in MB."""
        server = psutil.Process(self._process.pid)
        return max(
            process.memory_info().rss / 1e6
            for process in (server, *server.children(recursive=True))
        )

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready").json()["status"] == "ready"
        except httpx.TransportError:
            return False


async def open_loop(
    port: int, requests: Iterator[tuple[str, object]], rate: float, seconds: float
) -> list[float]:
    """Seconds from when each request was due until its answer was there.

    Requests are due at random, whether or not those before them are answered.

    Args:
        port: of the server on this machine.
        requests: path and body of each.
        rate: of requests, per second.
        seconds: for which requests come, after a few that are not counted.
    """
    dice = random.Random(3)
    taken: list[float] = []

    async def one(path: str, body: object, due: float) -> None:
        await answered(port, path, body)
        taken.append(time.perf_counter() - due)

    for _ in range(WARM_UP):
        await one(*next(requests), time.perf_counter())
    taken.clear()
    due = time.perf_counter()
    until = due + seconds
    # However late an answer is, it counts.
    async with asyncio.TaskGroup() as tasks:
        while (due := due + dice.expovariate(rate)) < until:
            path, body = next(requests)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.create_task(one(path, body, due))
    return taken


async def answered(port: int, path: str, body: object) -> None:
    """Wait for the whole answer to a request, on a connection that whichever process is free takes.

    Who is turned away comes again when the server says so, which takes its time like any waiting.
    """
    while (answer := await _answer(port, path, body)).startswith(b"HTTP/1.1 503 "):
        await asyncio.sleep(RETRY_AFTER)
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]


async def _answer(port: int, path: str, body: object) -> bytes:
    # In few steps: a client for people would take a good part of the server's cores.
    content = json.dumps(body).encode()
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        "Accept-Encoding: gzip",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join((*lines, "", "")).encode() + content)
    answer = await reader.read()
    writer.close()
    return answer
