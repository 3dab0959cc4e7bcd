"""The whole application behind a real port."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from api.main import create
from api.wiring import Services

START_LIMIT = 30


@contextmanager
def served(services: Services) -> Iterator[str]:
    """The address at which the pages and the API of these services answer."""
    config = uvicorn.Config(
        create(lambda: services), host="127.0.0.1", port=0, log_level="warning", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    waiting = threading.Event()
    for _ in range(START_LIMIT * 20):
        if server.started:
            break
        waiting.wait(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()
