"""The figures of every process, in the names under which Prometheus collects them.

Seconds throughout. What a process does not do stays empty: a worker has stages, an application has
requests (``api.operations``), both have stores. Labels take few values, all of them ours.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from celery.signals import before_task_publish
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

from pipeline.queues import QUEUES, Stage

# Figures that wait to be counted, some tens of kilobytes.
MOST_ASIDE = 500

# From a stage that had been done before to one that runs into its deadline of five minutes.
STAGE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
# A backfill may wait for hours.
WAIT_BUCKETS = (0.01, 0.05, 0.25, 1, 5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600)
# An indexed read takes well under a millisecond; a store that is away, its time limit.
STORE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)

# Of several processes each answers for all, by what they have counted.
_AT_ONCE = "PROMETHEUS_MULTIPROC_DIR" in os.environ
_aside: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()


def count_later(count: Callable[..., object], *arguments: Any) -> None:
    """Put a figure aside until somebody asks this process for all, or many have come together.

    One by one, between the steps of a run, a hundred for each image took a fifteenth of a busy
    worker's processor time; together they are counted several times as fast.
    """
    if _AT_ONCE:
        count(*arguments)
        return
    _aside.append((count, arguments))
    if len(_aside) >= MOST_ASIDE:
        _count_now()


def _count_now() -> None:
    while True:
        try:
            count, arguments = _aside.popleft()
        except IndexError:
            return
        count(*arguments)


class _CountedFirst(Collector):
    """Is asked before all figures of this module, since it is registered before them."""

    def collect(self) -> Iterable[Metric]:
        """No figure of its own."""
        _count_now()
        return ()


REGISTRY.register(_CountedFirst())

STAGE_SECONDS = Histogram(
    "justlens_stage_seconds",
    "A run of a stage, from its start to its end.",
    ("stage", "outcome"),
    buckets=STAGE_BUCKETS,
)
STAGE_OUTCOMES = Counter(
    "justlens_stage_outcomes", "Runs of a stage by how they ended.", ("stage", "outcome")
)
STAGE_CPU_SECONDS = Counter(
    "justlens_stage_cpu_seconds",
    "Time on a core of a stage's runs in their own threads, without the forward passes they share.",
    ("stage",),
)
QUEUE_WAIT_SECONDS = Histogram(
    "justlens_queue_wait_seconds",
    "From when a message was due to the start of its run, by the clocks of two machines.",
    ("stage",),
    buckets=WAIT_BUCKETS,
)
IMAGES_IN_FLIGHT = Gauge(
    "justlens_images_in_flight", "Runs of a stage that this process is at.", ("stage",)
)
RETRIES = Counter("justlens_retries", "Runs that are to be tried again.", ("stage", "exception"))
DEAD_LETTERS = Counter("justlens_dead_letters", "Failures parked.", ("queue", "exception"))
SENT_AGAIN = Counter(
    "justlens_images_sent_again",
    "Images whose message was lost, sent again from the stage that they waited for.",
    ("stage",),
)
for _stage in Stage:
    # From 0 on: of a series that begins with 1, Prometheus sees no increase.
    SENT_AGAIN.labels(_stage.value)
_BATCHES = Histogram(
    "justlens_batch_size", "Images in one forward pass.", ("model",), buckets=BATCH_BUCKETS
)
ENHANCED = _BATCHES.labels("enhancer")
ENCODED = _BATCHES.labels("image_text")
STORE_SECONDS = Histogram(
    "justlens_store_seconds",
    "A call of a store, failed ones included.",
    ("store", "method"),
    buckets=STORE_BUCKETS,
)
MODEL_LOAD_SECONDS = Gauge(
    "justlens_model_load_seconds", "How long a model took to load.", ("model",)
)
DEGRADED_ANSWERS = Counter(
    "justlens_degraded_answers", "Answers that did without vectors or a model."
)
SHADOWED = Counter(
    "justlens_shadow_questions",
    "Questions that the challenger was to answer, too, by what came of it.",
    ("outcome",),
)
CAPTURED_QUERIES = Counter(
    "justlens_captured_queries",
    "Queries kept for retraining, and those dropped while the store was away.",
    ("outcome",),
)


def count_dead_letter(queue: str, exception: str) -> None:
    """Count a failure; a queue that a foreign message made up is counted as ``other``."""
    DEAD_LETTERS.labels(queue if queue in QUEUES else "other", exception).inc()


SENT_AT = "sent_at"


@before_task_publish.connect
def stamp(headers: dict[str, Any], **_: Any) -> None:
    """Write the time on a task's message, whoever sends it, a retry anew."""
    headers[SENT_AT] = time.time()


def waited_seconds(request: Any, now: float) -> float | None:
    """How long a task's request has been due; none where its sender did not write the time.

    A delay that was asked for is not waiting. Clocks that differ do not make it negative.
    """
    due = request.get(SENT_AT)
    if not isinstance(due, int | float):
        return None
    if request.eta:
        due = max(due, datetime.fromisoformat(request.eta).timestamp())
    return max(0.0, now - due)
