"""What a worker process does at its start."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.queues import SLOTS, Stage

PROGRAM = """
from types import SimpleNamespace
from tasks import app
from tasks.worker import configure
given = {"queues": "image_enhance_process", "concurrency": %s}
configure(sender=None, instance=SimpleNamespace(app=app), conf=app.conf, options=given)
print(app.producer_pool.limit)
"""


def producers(tmp_path: Path, concurrency: int) -> int:
    """How many its threads may use at a time."""
    here = {
        "JUSTLENS_BROKER_URL": "amqp://127.0.0.1:1//",
        # Else it would start the embedded one for the joins, and leave it behind.
        "JUSTLENS_RESULT_URL": "redis://127.0.0.1:1",
        "JUSTLENS_DATA_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM % concurrency],
        env={**os.environ, **here},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_slots_that_all_publish_leave_producers_for_the_worker_itself(tmp_path: Path) -> None:
    assert producers(tmp_path, 0) >= SLOTS[Stage.ENHANCE.value] + 10
    assert producers(tmp_path, 100) >= 110
