"""MongoDB, or SecantusDB, which speaks its protocol.

``JUSTLENS_TEST_MONGODB_URL`` names one by an address of a user who may make databases. Else
SecantusDB is started in a temporary folder, if it is installed.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.services.servers import free_port, wait_for

SETTING = "JUSTLENS_TEST_MONGODB_URL"
PROGRAM = Path(sys.executable).with_name("secantusd-py")


@dataclass(frozen=True)
class Server:
    """A server whose databases may be made and dropped at ``url``."""

    url: str

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of an empty database, which is dropped afterwards."""
        name = f"justlens_test_{secrets.token_hex(6)}"
        try:
            yield urlsplit(self.url)._replace(path=f"/{name}").geturl()
        finally:
            with self.client() as client:
                client.drop_database(name)

    def client(self) -> MongoClient[dict[str, object]]:
        """The driver itself."""
        return MongoClient(self.url, serverSelectionTimeoutMS=1000)

    def answers(self) -> bool:
        """Whether it takes commands."""
        with self.client() as client:
            try:
                client.admin.command("ping")
            except PyMongoError:
                return False
        return True


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server that answers; ``folder`` is for one that has to be started."""
    named = os.environ.get(SETTING)
    if named:
        yield Server(named)
        return
    if not PROGRAM.exists():
        pytest.skip(f"SecantusDB is not installed, and {SETTING} names no MongoDB")
    with started(folder) as server:
        yield server


@contextmanager
def started(folder: Path, *options: str, address: str = "/", port: int = 0) -> Iterator[Server]:
    """SecantusDB with more options; ``address`` is what follows its host and port.

    In the same folder it is started again on its data.
    """
    port, log = port or free_port(), folder / "log"
    # Without the first option a killed server loses writes that it has answered.
    command = [PROGRAM, "--sync-on-commit", "--port", str(port), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--storage-path", folder / "data"], stdout=output, stderr=output
        )
    try:
        server = Server(f"mongodb://127.0.0.1:{port}{address}")
        wait_for(server.answers, process, str(log))
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
