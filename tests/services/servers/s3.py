"""S3.

``JUSTLENS_TEST_S3_URL`` names one by its address without a bucket and with the keys of a user who
may make buckets (``s3+http://access:secret@host:9000``). Else moto serves from its memory.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from urllib3.exceptions import HTTPError

from pipeline.stores.objects_s3 import Address
from tests.services.servers import free_port, wait_for

SETTING = "JUSTLENS_TEST_S3_URL"


@dataclass(frozen=True)
class Server:
    """A server, by its address without a bucket, and the options at the address's end."""

    url: str
    options: str = ""

    @contextmanager
    def bucket(self) -> Iterator[str]:
        """The address of a bucket that is not there yet; what is there is removed afterwards."""
        url = f"{self.url}/justlens-test-{secrets.token_hex(6)}{self.options}"
        try:
            yield url
        finally:
            address = Address.read(url)
            client = address.client(address.provider)
            if client.bucket_exists(address.bucket):
                for found in client.list_objects(address.bucket, recursive=True):
                    client.remove_object(address.bucket, str(found.object_name))
                client.remove_bucket(address.bucket)

    def answers(self) -> bool:
        """Whether the keys are let in."""
        address = Address.read(f"{self.url}/justlens-test{self.options}")
        try:
            address.client(address.provider).list_buckets()
        except HTTPError:
            return False
        return True


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server that answers; ``folder`` is for one that has to be started."""
    named = os.environ.get(SETTING)
    if named:
        yield Server(named.rstrip("/"))
        return
    with started(folder) as server:
        yield server


@contextmanager
def started(folder: Path, certificate: tuple[Path, Path] | None = None) -> Iterator[Server]:
    """A server of its own, which speaks TLS if it has a certificate and a key."""
    if find_spec("moto") is None:
        pytest.skip(f"moto is not installed, and {SETTING} names no server")
    port, log = free_port(), folder / "log"
    command = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    scheme, options = "s3+http", ""
    if certificate:
        command += ["-s", "-c", certificate[0], "-k", certificate[1]]
        scheme, options = "s3", f"?ssl_ca={certificate[0]}"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        server = Server(f"{scheme}://access:s3cr%2Ft@127.0.0.1:{port}", options)
        wait_for(server.answers, process, str(log))
        yield server
    finally:
        process.terminate()
        process.wait(30)
