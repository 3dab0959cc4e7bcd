"""A proxy in front of an HTTP server that can be told to answer 503 in its place."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BETWEEN_TWO = {"connection", "keep-alive", "transfer-encoding"}


class FaultProxy:
    """Attributes:
    refused: methods that are answered with 503 from now on.
    refusals: how many requests have been.
    """

    def __init__(self, host: str, port: int) -> None:
        self.refused: frozenset[str] = frozenset()
        self.refusals = 0
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.command in proxy.refused:
                    proxy.refusals += 1
                    self.send_response(503)
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                there = HTTPConnection(host, port, timeout=30)
                there.request(self.command, self.path, body, dict(self.headers))
                answer = there.getresponse()
                content = answer.read()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in BETWEEN_TWO | {"content-length"}:
                        self.send_header(name, value)
                length = str(len(content))
                if self.command == "HEAD":
                    length = answer.getheader("content-length", "0")
                self.send_header("content-length", length)
                self.end_headers()
                self.wfile.write(content)
                there.close()

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port

    @contextmanager
    def running(self) -> Iterator["FaultProxy"]:
        """While it is needed."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        yield self
        self._server.shutdown()
        thread.join()
