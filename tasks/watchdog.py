"""The watchdog: ends a process in which a stage is stuck.

Celery's time limits do not work in threads, and a thread cannot be killed. When a stage runs past
its deadline the cause is noted and the process ends: the supervisor starts a new one, the message
comes back and runs alone, and is parked when it does the same again.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial

from tasks.block import Block

log = logging.getLogger(__name__)

EXIT_STATUS = 70
CHECK_EVERY = 1.0


class Watchdog:
    """Watches the stages that run in this process.

    Args:
        note: called with a task id and the cause, before the process ends.
    """

    def __init__(self, note: Callable[[str, str], None]) -> None:
        self._note = note
        self._deadlines: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, task_id: str, seconds: float) -> Block:
        """End the process unless the block is left within ``seconds``."""
        return Block(partial(self._begin, task_id, seconds), partial(self._end, task_id))

    def _begin(self, task_id: str, seconds: float) -> None:
        with self._lock:
            self._deadlines[task_id] = (time.monotonic() + seconds, seconds)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="watchdog", daemon=True)
                self._thread.start()

    def _end(self, task_id: str) -> None:
        with self._lock:
            self._deadlines.pop(task_id, None)

    def _work(self) -> None:
        while True:
            time.sleep(CHECK_EVERY)
            now = time.monotonic()
            with self._lock:
                late = {
                    task_id: seconds
                    for task_id, (deadline, seconds) in self._deadlines.items()
                    if now > deadline
                }
            if late:
                self._end_process(late)

    def _end_process(self, late: dict[str, float]) -> None:
        try:
            for task_id, seconds in late.items():
                log.critical("task %s ran past its %.0f s; ending the process", task_id, seconds)
                self._note(task_id, f"ran past its deadline of {seconds:.0f} s")
        finally:
            os._exit(EXIT_STATUS)
