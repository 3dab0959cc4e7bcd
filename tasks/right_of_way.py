"""Right of way: in a worker, runs of the bulk lane let those of the interactive lane go first.

The threads of a worker share one interpreter. Beside twenty runs of a backfill each step of an
upload would take twenty times as long, and an upload has six stages.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.queues import Lane

# Seconds that a run lets others go first at a time: among uploads without end, it goes on slowly.
MOST = 0.5


class RightOfWay:
    """Who works, who waits for something else, and who had better wait."""

    def __init__(self, most: float = MOST) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._interactive = 0
        self._here = threading.local()

    @contextmanager
    def run(self, lane: Lane) -> Iterator[None]:
        """This thread runs a stage for a message of that lane."""
        self._here.lane = lane
        self._begin()
        try:
            yield
        finally:
            self._end()
            del self._here.lane

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """This thread waits for a batch or a server, and keeps nobody from working."""
        self._end()
        try:
            yield
        finally:
            self._begin()

    def give_way(self) -> None:
        """In a run of the bulk lane, wait while one of the interactive lane works."""
        if self._lane is Lane.BULK:
            with self._changed:
                self._changed.wait_for(lambda: not self._interactive, self._most)

    @property
    def _lane(self) -> Lane | None:
        """That of the run in this thread; none outside of runs."""
        return getattr(self._here, "lane", None)

    def _begin(self) -> None:
        if self._lane is Lane.INTERACTIVE:
            with self._changed:
                self._interactive += 1
        else:
            self.give_way()

    def _end(self) -> None:
        if self._lane is Lane.INTERACTIVE:
            with self._changed:
                self._interactive -= 1
                if not self._interactive:
                    self._changed.notify_all()
