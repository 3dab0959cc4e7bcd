"""What a worker process does at its start and its end.

``celery -A tasks worker -Q <queues>`` is all that an operator types: the number of slots, the keys
of unacknowledged messages and the models to load follow from the queues.
"""

import gc
import logging
import os
import threading
from contextlib import suppress
from typing import Any

from celery import Celery
from celery.platforms import signals
from celery.signals import beat_init, celeryd_init, worker_init, worker_ready, worker_shutdown

from pipeline.broker import EmbeddedBroker, run_directory
from pipeline.errors import ConfigurationError
from pipeline.graph import Sender
from pipeline.metrics import MODEL_LOAD_SECONDS
from pipeline.purge import open_purge
from pipeline.queues import QUEUES, SLOTS, Lane, Stage, lane_queue, queue_of, shared_out
from pipeline.reconcile import send_lost
from pipeline.topology import declare
from tasks.rabbitmq import SlotConsumer, images_at_work
from tasks.runtime import Runtime, runtime
from tasks.unacked import WorkerLock, images_in_flight

log = logging.getLogger(__name__)

# The models that a stage calls, loaded before its first message needs them.
MODELS: dict[str, tuple[str, ...]] = {
    Stage.ENHANCE.value: ("enhancer",),
    Stage.TAG.value: ("image_text", "detector", "quality"),
    Stage.DESCRIBE.value: ("image_text", "reader", "text"),
    Stage.SCORE.value: ("text",),
    Stage.ALT_TEXT.value: ("image_text",),
}

_lock: WorkerLock | None = None


@celeryd_init.connect
def configure(sender: Any, instance: Any, conf: Any, options: dict[str, Any], **_: Any) -> None:
    """Fit the settings to the queues of this worker."""
    global _lock
    here = runtime()
    _ensure_broker(here)
    if Stage.UPDATE.value in _queues(options):
        _check_purge(here)
    chosen = tuple(dict.fromkeys(queue_of(name)[0] for name in _queues(options)))
    if not options.get("concurrency"):
        conf.worker_concurrency = sum(SLOTS.get(queue, 1) for queue in chosen)
    concurrency = int(options.get("concurrency") or conf.worker_concurrency)
    # Those that Celery would share among all slots are for its own broadcasts: with none left as
    # it connects anew, the worker would not start again.
    conf.broker_pool_limit += concurrency
    if here.settings.broker_url.startswith(("redis", "rediss")):
        _lock = WorkerLock(run_directory(here.settings))
        conf.broker_transport_options = {
            **conf.broker_transport_options,
            **_lock.transport_options(),
        }
    else:
        SlotConsumer.slots = shared_out(concurrency, chosen)
        instance.app.amqp.Consumer = SlotConsumer


@worker_init.connect
def work_in_batch(**_: Any) -> None:
    """Have Linux take this process for batch work: a thread that wakes up stops none that runs.

    The threads of a run wait hundreds of times for an image, each time for less than a millisecond.
    By itself whoever wakes up goes first, and most of them only to wait for the interpreter. Pages
    that are answered beside the work do go first.
    """
    if hasattr(os, "SCHED_BATCH"):
        # Some containers do not let a process choose.
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


@worker_init.connect
def take_both_lanes(sender: Any, **_: Any) -> None:
    """Consume the bulk lanes of the queues that were named, too, after all interactive ones."""
    queues = sender.app.amqp.queues
    chosen = [name for name in queues.consume_from if queue_of(name)[1] is Lane.INTERACTIVE]
    for name in chosen:
        queues.select_add(queues[lane_queue(name, Lane.BULK)])


@worker_init.connect
def prepare_broker(sender: Any, **_: Any) -> None:
    """Make all queues, also those of other workers: what this one sends must find them."""

    def waiting(error: Exception, seconds: float) -> None:
        log.warning("no broker yet, trying again in %.0f s: %s", seconds, error)

    with sender.app.connection_for_write() as connection:
        connection.ensure_connection(waiting, interval_max=5)
        declare(connection)


@worker_init.connect
def recover(sender: Any, **_: Any) -> None:
    """Give back what dead workers had taken, before taking anything."""
    if recover_from_dead_workers(sender.app):
        log.info("a worker had died; its messages are back")


@worker_ready.connect
def preload(sender: Any, **_: Any) -> None:
    """Load the models of this worker's queues beside its first messages."""
    queues = sender.app.amqp.queues.consume_from
    kinds = dict.fromkeys(kind for queue in queues for kind in MODELS.get(queue, ()))

    def load() -> None:
        for kind in kinds:
            try:
                with MODEL_LOAD_SECONDS.labels(kind).time():
                    runtime().model(kind).load()
            except Exception:
                # Whatever it is, the first message that needs the model meets it, too.
                log.exception("the model %s is not loaded", kind)
        # What is there now stays for good: a full collection that walked through all of it would
        # stop every slot for a fifth of a second.
        gc.collect()
        gc.freeze()
        # What a run makes goes with it: at the default of 700 the collector looks again and again
        # for cycles that are not there.
        gc.set_threshold(10_000, 20, 20)

    threading.Thread(target=load, name="preload", daemon=True).start()


@beat_init.connect
def prepare_beat(**_: Any) -> None:
    """Beat may be the first to need the broker and the data folder."""
    _ensure_broker(runtime())


@beat_init.connect
def end_between_sends(sender: Any, **_: Any) -> None:
    """Let beat end when it has sent what it is at.

    Celery's own handler closes the connection at once. In the middle of a send it then waits for an
    answer that the interrupted send has read, and beat never ends.
    """

    def stop(*_: Any) -> None:
        sender.stop()

    signals.update(SIGTERM=stop, SIGINT=stop)


@worker_shutdown.connect
def close(**_: Any) -> None:
    """Give connections back."""
    runtime().close()
    if _lock is not None:
        _lock.sign_off()


def recover_from_dead_workers(app: Celery) -> int:
    """Put back what dead workers of this machine had taken; returns how many workers had died."""
    if _lock is None:
        return 0
    dead = _lock.give_back_orphans(app)
    if dead:
        here = runtime()
        send_lost(here.stores.documents, Sender(app), images_in_flight(app))
    return dead


def certain_messages(app: Celery) -> set[tuple[str, int]]:
    """Images that have a message in a queue or in a worker, as far as can be found out.

    RabbitMQ does not tell what its messages are: there the workers are asked for theirs.
    """
    return images_in_flight(app) if _lock else images_at_work(app)


def _check_purge(here: Runtime) -> None:
    """Settings of the CDN that cannot work are found now, not with the first image."""
    try:
        open_purge(here.settings)
    except ConfigurationError as error:
        # Celery logs any other exception of a signal and goes on.
        raise SystemExit(f"error: {error}") from error


def _ensure_broker(here: Runtime) -> None:
    here.settings.data_dir.mkdir(parents=True, exist_ok=True)
    if EmbeddedBroker.wanted(here.settings):
        EmbeddedBroker(here.settings).ensure()


def _queues(options: dict[str, Any]) -> list[str]:
    chosen = options.get("queues") or QUEUES
    return chosen.split(",") if isinstance(chosen, str) else list(chosen)
