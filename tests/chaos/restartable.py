"""A server of a test's own that goes away and comes back at its address, with its data."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

Server = TypeVar("Server")


class Restartable(Generic[Server]):
    """Args:
    start: starts it and is left when it is to end; the same address and folder each time.
    """

    def __init__(self, start: Callable[[], AbstractContextManager[Server]]) -> None:
        self._start = start

    def start(self) -> Server:
        """Returns when it answers."""
        self._running = self._start()
        return self._running.__enter__()

    def stop(self) -> None:
        """Returns when it has ended."""
        self._running.__exit__(None, None, None)
