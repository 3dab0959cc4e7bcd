"""The supervisor of a running system, a process of its own: ``python -m cli.supervise FILE``.

The file holds circus's watchers as JSON. SIGTERM, or the end of its input, ends all of
them gracefully.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from circus import get_arbiter


def main(path: str) -> None:
    """Keep the watchers of the file running until told to stop."""
    plan = json.loads(Path(path).read_text())
    arbiter = get_arbiter(
        plan["watchers"],
        controller=f"ipc://{plan['sockets']}/controller",
        pubsub_endpoint=f"ipc://{plan['sockets']}/events",
    )
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Returns when a signal has told it to stop and all watchers have ended.
    arbiter.start()


def _end_with_parent() -> None:
    """Stop when whoever started us has gone, even by SIGKILL: its end of our input is closed."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1])
