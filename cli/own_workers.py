"""Workers of a measurement's own: a data folder, its broker, and a constant number of images.

The processes are a worker's own, as an operator starts them; the folder and all in it are thrown
away afterwards.
"""

import math
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from celery import Celery

from cli.processes import METRICS_PORT, free_port, threads
from pipeline.broker import EmbeddedBroker
from pipeline.errors import JustLensError
from pipeline.graph import Sender
from pipeline.ingest import Intake
from pipeline.queues import Stage
from pipeline.records import Business, Category, ImageState
from pipeline.settings import Settings
from pipeline.stores import open_stores

LIMIT = 300.0
POLL = 0.05
DOCID = "measured"
DATABASES = {
    "documents": "documents.db",
    "relational": "directory.db",
    "vectors": "vectors.db",
}


@dataclass(frozen=True)
class Layout:
    """One worker process: what it takes from, and how many messages it works at.

    Attributes:
        slots: 0: as many as a worker opens by itself.
        cores: that the operating system lets it use; empty: all.
        environment: settings of its own.
    """

    stages: tuple[Stage, ...]
    slots: int = 0
    cores: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Worker:
    """A running worker process."""

    layout: Layout
    process: psutil.Popen
    address: str
    log: Path

    def figures(self) -> str:
        """What it tells Prometheus."""
        return httpx.get(self.address, timeout=30).text

    def wait_until_ready(self) -> None:
        """Poll until it takes messages."""
        until = time.monotonic() + LIMIT
        while " ready." not in self.log.read_text(errors="replace"):
            if self.process.poll() is not None or time.monotonic() > until:
                end = self.log.read_text(errors="replace")[-2000:]
                raise JustLensError(f"a worker did not start:\n{end}")
            time.sleep(POLL)


class OwnWorkers:
    """One data folder with an embedded broker and stores; photos are handed in one by one.

    Args:
        settings: of the folder; those who start hand them on through ``environment``.
        environment: of all workers.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = {**os.environ, **environment}
        self._broker = EmbeddedBroker(settings)
        self._broker.ensure()
        with self._broker.client() as client:
            self._server = psutil.Process(int(client.info("server")["process_id"]))
        self.stores = open_stores(settings)
        self.stores.prepare()
        self._app = Celery("measuring", set_as_current=False)
        self._app.config_from_object("celeryconfig")
        self._intake = Intake(self.stores, settings, Sender(self._app))
        self.sent = 0

    def open_business(self, categories: Sequence[str]) -> None:
        """The business whose photos they are."""
        listed = [
            Category(catid=number, name=name, is_hot=number == 1)
            for number, name in enumerate(categories, start=1)
        ]
        self._intake.save_business(Business(docid=DOCID, name="Measured"), listed)

    @contextmanager
    def running(self, layouts: Sequence[Layout]) -> Iterator[list[Worker]]:
        """Workers that take messages inside the block."""
        workers: list[Worker] = []
        try:
            workers += [self._start(layout) for layout in layouts]
            for worker in workers:
                worker.wait_until_ready()
            yield workers
        finally:
            for worker in workers:
                worker.process.terminate()
            for worker in workers:
                try:
                    worker.process.wait(20)
                except psutil.TimeoutExpired:
                    worker.process.kill()

    def _start(self, layout: Layout) -> Worker:
        port = free_port("127.0.0.1")
        name = f"{layout.stages[0].value}-{port}"
        command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--loglevel", "INFO"]
        command += ["-n", f"{name}@{socket.gethostname()}"]
        command += ["-Q", ",".join(stage.value for stage in layout.stages)]
        if layout.slots:
            command += ["--concurrency", str(layout.slots)]
        environment = {**self._environment, **threads(1), METRICS_PORT: str(port)}
        environment |= layout.environment
        log = self._settings.data_dir / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = psutil.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        if layout.cores:
            process.cpu_affinity(list(layout.cores))
        return Worker(layout, process, f"http://127.0.0.1:{port}/metrics", log)

    @property
    def done(self) -> int:
        """Images that are through."""
        return self.stores.documents.count_states().get(ImageState.DONE, 0)

    def load(
        self,
        photos: Iterator[bytes],
        in_flight: int,
        *,
        seconds: float = math.inf,
        count: float = math.inf,
    ) -> float:
        """Keep images in flight until time, number or photos are used up, and all are through.

        Returns:
            Images a second, from the first that was handed in until the last was through.
        """
        began, first = time.monotonic(), self.sent
        photo: bytes | None = b""
        while photo is not None and time.monotonic() - began < seconds:
            room = min(in_flight - (self.sent - self.done), first + count - self.sent)
            for _ in range(int(room)):
                photo = next(photos, None)
                if photo is not None:
                    self.hand_in(photo)
            if self.sent - first >= count:
                break
            time.sleep(POLL)
        self.drain()
        return (self.sent - first) / (time.monotonic() - began)

    def hand_in(self, photo: bytes) -> None:
        """One photo more."""
        self.sent += 1
        self._intake.accept_bytes(DOCID, self.sent, photo)

    def drain(self) -> None:
        """Wait until nothing is in flight."""
        until = time.monotonic() + LIMIT
        while self.done < self.sent:
            if time.monotonic() > until:
                raise JustLensError(f"{self.sent - self.done} photos did not come through")
            time.sleep(POLL)

    def cpu_seconds(self, workers: Sequence[Worker]) -> tuple[float, float]:
        """CPU seconds so far: of the workers, and of the broker and this process beside them."""
        beside = _cpu(self._server) + _cpu(psutil.Process())
        return sum(_cpu(worker.process) for worker in workers), beside

    def stored(self) -> dict[str, int]:
        """Bytes that each store holds."""
        folder = self._settings.data_dir
        kept = {name: _database_size(folder / file) for name, file in DATABASES.items()}
        for name in ("originals", "enhanced"):
            files = (folder / "objects" / name).glob("**/*")
            kept[name] = sum(file.stat().st_size for file in files if file.is_file())
        return kept

    def close(self) -> None:
        """End the broker and give connections back."""
        self._app.close()
        self.stores.close()
        self._broker.stop()


def _database_size(path: Path) -> int:
    """Bytes of the pages in use, those included that still lie in the log of writes."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        (pages,), (free,), (size,) = (
            database.execute(f"PRAGMA {what}").fetchone()
            for what in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
