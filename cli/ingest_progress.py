"""How far an ingest is, how fast it goes, and when it will be through."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta

from cli.output import err, progress

# Seconds that the rate is taken over: an hour ago says little about the next one.
WINDOW = 60.0
LINE_EVERY = 5.0


@dataclass(frozen=True)
class Standing:
    """Where an ingest stands.

    Attributes
    ----------
    ended:
        Rows that are done with, however they ended.
    in_flight:
        Images that were handed over and have not ended.
    messages:
        That wait in the lane.
    total:
        Rows in all, for a file an estimate from the bytes that were read.
    trouble:
        What is waited for that does not answer.
    """

    ended: int
    in_flight: int
    messages: int
    total: int
    trouble: str = ""


class Pace:
    """Rows that end in a second, over the last minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._points = deque([(clock(), 0)])

    def note(self, ended: int) -> None:
        """So many rows have ended by now."""
        now = self._clock()
        self._points.append((now, ended))
        while len(self._points) > 2 and self._points[1][0] < now - WINDOW:
            self._points.popleft()

    @property
    def rate(self) -> float:
        """Rows a second."""
        (began, before), (now, ended) = self._points[0], self._points[-1]
        return (ended - before) / (now - began) if now > began else 0.0

    def left(self, rows: int) -> float | None:
        """Seconds for so many more; None while nothing ends."""
        return rows / self.rate if self.rate else None


Tell = Callable[[Standing], None]


@contextmanager
def telling(what: str, *, as_json: bool) -> Iterator[Tell]:
    """Tells on standard error how an ingest stands: a bar, or a JSON object every five seconds."""
    pace = Pace()
    told_at = pace_noted_at = float("-inf")

    def noted(standing: Standing) -> bool:
        nonlocal pace_noted_at
        now = time.monotonic()
        # A point for every row would be a window of many thousands.
        if now - pace_noted_at < 0.2 and standing.ended < standing.total:
            return False
        pace.note(standing.ended)
        pace_noted_at = now
        return True

    def line(standing: Standing) -> None:
        nonlocal told_at
        if noted(standing) and time.monotonic() - told_at > LINE_EVERY:
            told_at = time.monotonic()
            left = pace.left(standing.total - standing.ended)
            eta = None if left is None else round(left)
            figures = {"images_per_second": round(pace.rate, 2), "eta_seconds": eta}
            err.file.write(json.dumps({"source": what, **asdict(standing), **figures}) + "\n")
            err.file.flush()

    if as_json:
        yield line
        return
    with progress() as bars:
        bar = bars.add_task(what, total=None, note="")

        def draw(standing: Standing) -> None:
            if noted(standing):
                note = _note(standing, pace)
                bars.update(bar, completed=standing.ended, total=standing.total, note=note)

        yield draw


def _note(standing: Standing, pace: Pace) -> str:
    if standing.trouble:
        return f"waiting: {standing.trouble}"
    left = pace.left(standing.total - standing.ended)
    eta = "" if left is None else f", ETA {timedelta(seconds=round(left))}"
    return f"{standing.in_flight} on their way, {pace.rate:.1f}/s{eta}"
