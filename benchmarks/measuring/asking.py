"""Asking an application without a network, and the time that its stores take of an answer."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from fastapi import FastAPI

from api.wiring import Services


async def ask(app: FastAPI, path: str, body: object = None) -> tuple[float, bytes]:
    """Seconds until the whole answer is there, and its bytes, compressed as for a browser.

    Args:
        app: a running application.
        path: with its query string.
        body: JSON to POST; none: GET.

    Raises:
        RuntimeError: the answer is not 200.
    """
    content = b"" if body is None else json.dumps(body).encode()
    place, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET" if body is None else "POST",
        "path": place,
        "raw_path": place.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": query.encode(),
        "headers": [
            (b"host", b"localhost"),
            (b"accept-encoding", b"gzip"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    began = time.perf_counter()
    await app(scope, receive, send)
    seconds = time.perf_counter() - began
    answer = b"".join(message.get("body", b"") for message in sent)
    if sent[0]["status"] != 200:
        raise RuntimeError(f"{path}: {sent[0]['status']} {answer!r}")
    return seconds, answer


class StoreSeconds:
    """The seconds spent inside methods of the stores, decoding included, since ``reset``."""

    def __init__(self) -> None:
        self.total = 0.0
        self._depth = 0

    def reset(self) -> None:
        """Begin to count anew."""
        self.total = 0.0

    @contextmanager
    def watching(self, services: Services) -> Iterator[None]:
        """Count the calls of all public methods, each with what it calls itself."""
        stores = services.stores
        for store in (stores.documents, stores.directory, stores.vectors, stores.objects):
            for name in dir(type(store)):
                method = getattr(store, name)
                if not name.startswith("_") and callable(method):
                    setattr(store, name, self._counted(method))
        yield

    def _counted(self, method: Any) -> Any:
        @wraps(method)
        def counted(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            self._depth += 1
            try:
                return method(*arguments, **options)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.total += time.perf_counter() - began

        return counted
