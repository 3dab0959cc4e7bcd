"""Right of way: in a worker, runs of the bulk lane let those of the interactive lane go first.

The threads of a worker share one interpreter. Beside twenty runs of a backfill each step of an
upload would take twenty times as long, and an upload has six stages.
"""

import threading

from pipeline.queues import Lane

# Seconds that a run lets others go first at a time: among uploads without end, it goes on slowly.
MOST = 0.5


class RightOfWay:
    """Who works, who waits for something else, and who had better wait."""

    def __init__(self, most: float = MOST) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._interactive = 0
        self.here = threading.local()

    def run(self, lane: Lane) -> "_Run":
        """This thread runs a stage for a message of that lane, as long as the block."""
        return _Run(self, lane)

    def waiting(self) -> "_Waiting":
        """This thread waits for a batch or a server in the block, and keeps nobody from working."""
        return _Waiting(self)

    def give_way(self) -> None:
        """In a run of the bulk lane, wait while one of the interactive lane works."""
        if self._lane is Lane.BULK:
            with self._changed:
                self._changed.wait_for(lambda: not self._interactive, self._most)

    @property
    def _lane(self) -> Lane | None:
        """That of the run in this thread; none outside of runs."""
        return getattr(self.here, "lane", None)

    def begin(self) -> None:
        """This thread works from here on."""
        if self._lane is Lane.INTERACTIVE:
            with self._changed:
                self._interactive += 1
        else:
            self.give_way()

    def end(self) -> None:
        """This thread works no longer."""
        if self._lane is Lane.INTERACTIVE:
            with self._changed:
                self._interactive -= 1
                if not self._interactive:
                    self._changed.notify_all()


# Some ten of these blocks an image: generators of contextlib would cost several times as much.


class _Run:
    __slots__ = ("_lane", "_way")

    def __init__(self, way: RightOfWay, lane: Lane) -> None:
        self._way, self._lane = way, lane

    def __enter__(self) -> None:
        self._way.here.lane = self._lane
        self._way.begin()

    def __exit__(self, *_: object) -> None:
        self._way.end()
        del self._way.here.lane


class _Waiting:
    __slots__ = ("_way",)

    def __init__(self, way: RightOfWay) -> None:
        self._way = way

    def __enter__(self) -> None:
        self._way.end()

    def __exit__(self, *_: object) -> None:
        self._way.begin()
