"""A CDN's API on this machine: it writes down what it is asked and answers as it is told."""

import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Asked:
    """One request, as received."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int = 201
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Cdn:
    """What the server was asked and what it answers.

    Attributes:
        answer: called with each purge request.
        photos: what a GET of a path is answered with.
    """

    address: str = ""
    asked: list[Asked] = field(default_factory=list)
    answer: Callable[[Asked], Answer] = lambda _asked: Answer()
    photos: dict[str, bytes] = field(default_factory=dict)

    def answers(self, *statuses: int) -> None:
        """Answer these one after another, and then all is well."""
        left = iter(statuses)
        self.answer = lambda _asked: Answer(next(left, 201))


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what some tests are about."""


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[Cdn]:
    """A CDN that is up inside the block."""
    cdn = Cdn()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Not on the terminal."""

        def do_GET(self) -> None:
            photo = cdn.photos.get(self.path)
            self._reply(Answer(200, body=photo) if photo else Answer(404))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = Asked(self.command, self.path, dict(self.headers), body)
            cdn.asked.append(asked)
            self._reply(cdn.answer(asked))

        do_PURGE = do_POST

        def _reply(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": len(answer.body)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(answer.body)

    server = Server((LOOPBACK, 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    cdn.address = f"{'https' if tls else 'http'}://{LOOPBACK}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield cdn
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def certificate(folder: Path, *hosts: str) -> Path:
    """A PEM file with a key and a certificate of it for the loopback address, or for hosts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, LOOPBACK)])
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
    names = names or [x509.IPAddress(ipaddress.ip_address(LOOPBACK))]
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "cdn.pem"
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path
