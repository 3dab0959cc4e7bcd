"""The pixel budget: how much of decoded photos a process holds at a time.

Slots are many and photos are of any size: without a bound, sixteen photos of a good camera at once
would take gigabytes.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """Lets photos in as long as their pixels together stay below a total.

    Args:
        total: pixels. A photo larger than that is let in alone.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Hold a photo of so many pixels inside the block; waits until there is room."""
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + pixels <= self._total)
            self._used += pixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= pixels
                self._changed.notify_all()
