"""Real servers that the tests talk to, a module for each.

Each is found by a setting of its own (``JUSTLENS_TEST_…``), else started where it can be; where
neither is possible the test is skipped with the reason.
"""

import socket
import subprocess
import time
from collections.abc import Callable

START_LIMIT = 60.0


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(answers: Callable[[], bool], process: subprocess.Popen[bytes], log: str) -> None:
    """Poll until a server that was started answers.

    Raises:
        RuntimeError: it ended, or took longer than a minute.
    """
    until = time.monotonic() + START_LIMIT
    while not answers():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{process.args!r} does not answer, see {log}")
        time.sleep(0.05)
