"""A worker's figures, and the port under which Prometheus finds them.

Celery's signals say when a task begins and how it ends, so that no stage needs to know of this.
"""

import logging
import threading
import time
from functools import cache
from typing import Any

from celery import Task, states
from celery.signals import (
    task_postrun,
    task_prerun,
    task_retry,
    worker_init,
    worker_shutdown,
)
from prometheus_client import start_http_server

from pipeline.metrics import (
    IMAGES_IN_FLIGHT,
    QUEUE_WAIT_SECONDS,
    RETRIES,
    STAGE_CPU_SECONDS,
    STAGE_OUTCOMES,
    STAGE_SECONDS,
    count_later,
    waited_seconds,
)
from tasks.runtime import runtime

log = logging.getLogger(__name__)

# How a run ended that returned nothing to say so itself.
OUTCOMES = {
    states.SUCCESS: "done",
    states.RETRY: "retried",
    states.FAILURE: "stopped",
    states.IGNORED: "copy",
}

# Looked up once for each stage: behind a lock, labels take longer than counting does.
_in_flight = cache(IMAGES_IN_FLIGHT.labels)
_queue_wait = cache(QUEUE_WAIT_SECONDS.labels)
_outcomes = cache(STAGE_OUTCOMES.labels)
_seconds = cache(STAGE_SECONDS.labels)
_cpu_seconds = cache(STAGE_CPU_SECONDS.labels)

# The run of a task has one thread from its beginning to its end.
_thread = threading.local()
_server: Any = None


@worker_init.connect
def serve(**_: Any) -> None:
    """Serve ``/metrics`` if the settings name a port; without it the worker works as well."""
    global _server
    settings = runtime().settings
    if not settings.metrics_port:
        return
    try:
        _server = start_http_server(settings.metrics_port, settings.metrics_host)[0]
    except (OSError, OverflowError) as error:
        log.error("no figures at JUSTLENS_METRICS_PORT %d: %s", settings.metrics_port, error)
    else:
        log.info("figures at http://%s:%d/metrics", settings.metrics_host, settings.metrics_port)


@worker_shutdown.connect
def stop_serving(**_: Any) -> None:
    """Close the port, so that the next worker can have it."""
    if _server is not None:
        _server.shutdown()
        _server.server_close()


@task_prerun.connect
def begin(task: Task, **_: Any) -> None:
    """A run begins."""
    _thread.began, _thread.cpu_began = time.perf_counter(), time.thread_time()
    count_later(_count_start, task.name, waited_seconds(task.request, time.time()))


@task_postrun.connect
def end(task: Task, retval: Any, state: str, **_: Any) -> None:
    """A run has ended, one way or another."""
    outcome = retval.get("outcome") if isinstance(retval, dict) else None
    labels = (task.name, outcome or OUTCOMES.get(state, state.lower()))
    seconds = time.perf_counter() - _thread.began
    count_later(_count_end, labels, seconds, time.thread_time() - _thread.cpu_began)


def _count_start(name: str, waited: float | None) -> None:
    _in_flight(name).inc()
    if waited is not None:
        _queue_wait(name).observe(waited)


def _count_end(labels: tuple[str, str], seconds: float, cpu_seconds: float) -> None:
    name, _ = labels
    _in_flight(name).dec()
    _outcomes(*labels).inc()
    _seconds(*labels).observe(seconds)
    _cpu_seconds(name).inc(cpu_seconds)


@task_retry.connect
def note_retry(sender: Task, reason: Any, **_: Any) -> None:
    """A run is to be tried again."""
    cause = getattr(reason, "exc", None) or reason
    RETRIES.labels(sender.name, type(cause).__name__).inc()
