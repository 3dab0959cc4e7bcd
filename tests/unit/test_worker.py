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


PRELOAD = """
import gc, threading
from types import SimpleNamespace
from tasks.runtime import runtime
from tasks.worker import preload
queues = SimpleNamespace(consume_from=["image_enhance_process", "image_relevance_score"])
preload(sender=SimpleNamespace(app=SimpleNamespace(amqp=SimpleNamespace(queues=queues))))
for thread in threading.enumerate():
    if thread.name == "preload":
        thread.join()
print(runtime().model("text").is_loaded, gc.get_freeze_count() > 0, gc.get_threshold()[0])
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


def test_a_model_that_does_not_load_keeps_no_other_one_from_it(tmp_path: Path) -> None:
    here = {
        "JUSTLENS_BROKER_URL": "memory://",
        "JUSTLENS_DATA_DIR": str(tmp_path),
        "JUSTLENS_ENHANCER": f"path:{tmp_path / 'absent.pth'}",
        "JUSTLENS_TEXT_ENCODER": "tests.fast_models:FastText",
    }
    done = subprocess.run(
        [sys.executable, "-c", PRELOAD],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, **here},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "True", "10000"]
    assert "the model enhancer is not loaded" in done.stderr
    assert "absent.pth" in done.stderr
