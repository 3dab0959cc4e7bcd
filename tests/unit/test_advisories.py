"""The report on advisories says what is known, or that nothing is, and fails nothing."""

import json
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.services.servers import free_port

ROOT = Path(__file__).resolve().parents[2]

KNOWN = {
    "id": "PYSEC-0000-1",
    "summary": "Something is wrong with it.",
    "affected": [
        {
            "package": {"name": "tornado", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999"}]}],
        }
    ],
}


class Osv(BaseHTTPRequestHandler):
    """Answers as OSV does; it knows something of one package."""

    def do_POST(self) -> None:
        """What is known of a version of a package."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = {"vulns": [KNOWN]} if asked["package"]["name"] == "tornado" else {}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(known).encode())

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def osv() -> Iterator[str]:
    """The address of one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Osv)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()


def advisories(address: str) -> subprocess.CompletedProcess[str]:
    # What is installed stays as it is.
    command = ["make", "--old-file=install", "advisories", f"OSV={address}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_an_advisory_is_named_with_its_package_and_the_version_that_mends_it(osv: str) -> None:
    done = advisories(osv)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if KNOWN["id"] in line)
    assert line.split()[0] == "tornado"
    assert line.split()[-1] == "999"


def test_it_is_said_when_the_service_does_not_answer() -> None:
    address = f"http://127.0.0.1:{free_port()}/v1/query"
    done = advisories(address)
    assert done.returncode == 0, done.stderr
    assert f"is not known: {address} did not answer" in done.stdout
