"""A site of a test's own: an embedded broker and stores in a folder, workers as real processes."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery

from pipeline.broker import EmbeddedBroker
from pipeline.graph import Sender
from pipeline.ingest import Intake
from pipeline.joins import join_backend
from pipeline.queues import QUEUES, error_queue
from pipeline.records import Business, Category, ImageState
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores
from tests.fast_models import ENVIRONMENT
from tests.pictures import green

LIMIT = 90.0
ROOT = Path(__file__).resolve().parents[2]

SHOP = Business(docid="shop-1", name="The Paint Shop")
CATEGORIES = [
    Category(catid=1, name="Red Paint", is_hot=True),
    Category(catid=2, name="Green Paint"),
]


class Site:
    """One data folder with its broker; workers are started and killed by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal"
        self.environment = {
            **os.environ,
            **ENVIRONMENT,
            "JUSTLENS_DATA_DIR": str(folder),
            "JUSTLENS_STUCK_AFTER": "3",
            "JUSTLENS_RECONCILE_EVERY": "1",
            "JUSTLENS_RETRY_DELAY": "0.1",
            "TEST_JOURNAL": str(self.journal),
        }
        self.settings = Settings(data_dir=folder)
        self.broker = EmbeddedBroker(self.settings)
        self.broker.ensure()
        self.stores: Stores = open_stores(self.settings)
        self.app = Celery("test")
        self.app.config_from_object("celeryconfig")
        self.app.conf.update(
            broker_url=self.settings.broker_url,
            result_backend=join_backend(self.settings.result_url),
        )
        self.intake = Intake(self.stores, self.settings, Sender(self.app))
        self.intake.save_business(SHOP, CATEGORIES)
        self.processes: list[subprocess.Popen[bytes]] = []

    def worker(
        self, *queues: str, name: str = "test", **environment: str
    ) -> subprocess.Popen[bytes]:
        """The bare command, in a process of its own; all queues unless some are named."""
        command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-n", f"{name}@%h"]
        return self._start([*command, "-Q", ",".join(queues or QUEUES)], name, environment)

    def beat(self) -> subprocess.Popen[bytes]:
        """The scheduler."""
        return self._start([sys.executable, "-m", "celery", "-A", "tasks", "beat"], "beat", {})

    def _start(
        self, command: list[str], name: str, environment: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "--loglevel", "INFO"],
                cwd=ROOT,
                env={**self.environment, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def take_in(self, count: int, first: int = 1) -> None:
        """Hand in green pictures under consecutive product ids."""
        for number in range(first, first + count):
            self.intake.accept_bytes("shop-1", number, green(number))

    def kill(self) -> None:
        """SIGKILL every process of the site, the broker included."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()
        with self.broker.client() as client:
            server = int(client.info("server")["process_id"])
        os.kill(server, signal.SIGKILL)
        self.until(lambda: not self.broker.answers(), "the broker is gone")

    def until(self, condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
        """Poll until the condition holds."""
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() > end:
                pytest.fail(f"not within {limit:.0f} s: {what}\n{self.logs()}")
            time.sleep(0.05)

    def states(self) -> dict[ImageState, int]:
        """How many images are in each state."""
        return {state: n for state, n in self.stores.documents.count_states().items() if n}

    def parked(self, queue: str) -> list[dict[str, object]]:
        """The dead letters that lie in the error queue of ``queue``."""
        with self.broker.client() as client:
            return [
                json.loads(_body(json.loads(raw)))
                for raw in client.lrange(error_queue(queue), 0, -1)
            ]

    def journal_lines(self) -> list[str]:
        """What the models have written down."""
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )

    def close(self) -> None:
        """End everything, gracefully."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.app.close()
        self.stores.close()
        self.broker.stop()


def _body(message: dict[str, object]) -> str:
    return base64.b64decode(str(message["body"])).decode()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A running broker, open stores, and no worker yet."""
    site = Site(tmp_path)
    yield site
    site.close()
