"""Milvus.

``JUSTLENS_TEST_MILVUS_URL`` names one by the address of a user who may make collections
(``milvus://user:…@host:19530/default``). Else Milvus Lite serves from a temporary folder.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.errors import StoreUnavailable
from pipeline.stores.vectors_milvus import Address, MilvusVectors
from tests.services.servers import free_port, wait_for

SETTING = "JUSTLENS_TEST_MILVUS_URL"


@dataclass(frozen=True)
class Server:
    """A server. One that was started here can be killed and started again on its data."""

    url: str
    restart: Callable[[], None] | None = None

    @contextmanager
    def collections(self) -> Iterator[str]:
        """An address whose collections have names of their own; they are dropped afterwards."""
        prefix = f"test_{secrets.token_hex(6)}_"
        try:
            yield f"{self.url}{'&' if '?' in self.url else '?'}prefix={prefix}"
        finally:
            client = Address.read(self.url).connect()
            for name in client.list_collections():
                if name.startswith(prefix):
                    client.drop_collection(name)
            client.close()

    def answers(self) -> bool:
        """Whether the user is let in."""
        store = MilvusVectors(self.url)
        try:
            store.check()
        except StoreUnavailable:
            return False
        finally:
            store.close()
        return True


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server that answers; ``folder`` is for one that has to be started."""
    named = os.environ.get(SETTING)
    if named:
        yield Server(named)
        return
    if find_spec("milvus_lite") is None:
        pytest.skip(f"milvus-lite is not installed, and {SETTING} names no server")
    lite = _Lite(folder)
    try:
        lite.start()
        yield Server(lite.url, lite.restart)
    finally:
        lite.kill()


class _Lite:
    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"milvus://127.0.0.1:{port}/default"
        self._log = folder / "log"
        self._command = [
            *(sys.executable, "-m", "milvus_lite", "server"),
            f"--data-dir={folder / 'data'}",
            "--host=127.0.0.1",
            f"--port={port}",
            # Its writers to one collection must take turns.
            "--max-workers=1",
        ]

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        wait_for(Server(self.url).answers, self._process, str(self._log))

    def restart(self) -> None:
        self.kill()
        self.start()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
