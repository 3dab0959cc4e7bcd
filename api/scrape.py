"""The figures that are asked for at each scrape, while Prometheus waits for the answer.

Each is a bounded read, and what cannot be reached is left out: the others tell that it is away.
"""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pipeline.backlog import Backlog
from pipeline.errors import BrokerUnavailable, StoreUnavailable
from pipeline.queues import QUEUES
from pipeline.settings import Settings
from pipeline.stores import Stores
from pipeline.workers import Worker

Samples = Iterable[tuple[Sequence[str], float]]


class _Broker(Protocol):
    def backlog(self) -> Backlog: ...


class Asked(Protocol):
    """Who is asked; ``api.wiring.Services``."""

    @property
    def settings(self) -> Settings:
        """Of this process."""

    @property
    def stores(self) -> Stores:
        """Where the rows of images are."""

    @property
    def broker(self) -> _Broker:
        """What holds the messages."""

    def workers(self) -> Sequence[Worker]:
        """Those that answered lately."""

    def checks(self, needs: Sequence[str]) -> Mapping[str, str]:
        """What is wrong with each dependency; empty where it answers."""


class Scrape(Collector):
    """What an application finds out about the things that it needs.

    Args:
        services: who is asked.
        needs: of the application; what waits is told only by one that needs the broker.
    """

    def __init__(self, services: Asked, needs: Sequence[str]) -> None:
        self._services = services
        self._needs = needs

    def collect(self) -> Iterator[Metric]:
        """The gauges of all that answers."""
        troubles = self._services.checks([name for name in self._needs if name != "broker"])
        yield _gauge(
            "justlens_dependency_up",
            "Whether a dependency answers, and a model is loaded.",
            ("dependency",),
            (([name], not trouble) for name, trouble in troubles.items()),
        )
        disk = shutil.disk_usage(_existing(self._services.settings.data_dir))
        yield _gauge(
            "justlens_disk_free_ratio",
            "Free share of the disk that the data folder is on.",
            (),
            [((), disk.free / disk.total)],
        )
        if "broker" not in self._needs:
            return
        yield from self._queues()
        if not troubles.get("documents"):
            yield from self._ages()

    def _queues(self) -> Iterator[Metric]:
        name, what = "justlens_broker_up", "Whether the broker answers."
        try:
            backlog, workers = self._services.broker.backlog(), self._services.workers()
        except BrokerUnavailable:
            yield _gauge(name, what, (), [((), 0)])
            return
        yield _gauge(name, what, (), [((), 1)])
        yield _gauge(
            "justlens_queue_depth", "Messages that wait.", ("queue", "lane"), backlog.items()
        )
        yield _gauge(
            "justlens_workers",
            "Workers that answered lately.",
            ("queue",),
            (([queue], sum(queue in one.queues for one in workers)) for queue in QUEUES),
        )

    def _ages(self) -> Iterator[Metric]:
        try:
            waiting = self._services.stores.documents.longest_waiting()
        except StoreUnavailable:
            return
        now = time.time()
        yield _gauge(
            "justlens_oldest_message_seconds",
            "Since the image that has waited longest came to its stage, or left it.",
            ("stage", "lane"),
            (
                # A retry is due in the future.
                ([stage.value, lane.name.lower()], max(0.0, now - moved_at))
                for (stage, lane), moved_at in waiting.items()
            ),
        )


def _gauge(name: str, what: str, labels: Sequence[str], samples: Samples) -> Metric:
    gauge = GaugeMetricFamily(name, what, labels=labels)
    for values, value in samples:
        gauge.add_metric(values, float(value))
    return gauge


def _existing(folder: Path) -> Path:
    """The folder, or where it will be made."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
