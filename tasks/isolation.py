"""Isolation: a message that was delivered before runs alone in its process.

Its first run may have ended the process. If it does so again, only its own attempt is counted,
and none of its neighbours is suspected.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.block import Block


class Isolation:
    """Many may run together, or one alone. Whoever wants to be alone goes before newcomers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._alone = False
        self._waiting = 0
        self._beside = Block(self._begin, self._end)

    def together(self) -> Block:
        """Run beside others, as long as the block."""
        return self._beside

    def _begin(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._waiting)
            self._together += 1

    def _end(self) -> None:
        with self._changed:
            self._together -= 1
            self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Run beside nobody."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._alone and not self._together)
            self._waiting -= 1
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()
