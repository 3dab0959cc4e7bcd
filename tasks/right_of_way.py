"""Right of way: in a worker, runs of the bulk lane let those of the interactive lane go first.

The threads of a worker share one interpreter. Beside twenty runs of a backfill each step of an
upload would take twenty times as long, and an upload has six stages.
"""

import threading
from functools import partial

from pipeline.queues import Lane
from tasks.block import Block

# Seconds that a run lets others go first at a time: among uploads without end, it goes on slowly.
MOST = 0.5


class RightOfWay:
    """Who works, who waits for something else, and who had better wait."""

    def __init__(self, most: float = MOST) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._interactive = 0
        self._here = threading.local()
        self._waiting = Block(self._end, self._begin)

    def run(self, lane: Lane) -> Block:
        """This thread runs a stage for a message of that lane, as long as the block."""
        return Block(partial(self._enter, lane), self._leave)

    def waiting(self) -> Block:
        """This thread waits for a batch or a server in the block, and keeps nobody from working."""
        return self._waiting

    def give_way(self) -> None:
        """In a run of the bulk lane, wait while one of the interactive lane works."""
        if self._lane is Lane.BULK:
            with self._changed:
                self._changed.wait_for(lambda: not self._interactive, self._most)

    @property
    def _lane(self) -> Lane | None:
        """That of the run in this thread; none outside of runs."""
        return getattr(self._here, "lane", None)

    def _enter(self, lane: Lane) -> None:
        self._here.lane = lane
        self._begin()

    def _leave(self) -> None:
        self._end()
        del self._here.lane

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
