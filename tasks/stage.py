"""What every stage has in common, so that a stage's own module is only what it does.

A run of a stage: read the message, meet the fence, say where the image is, run under a deadline
(alone, when the message was delivered before), and write down, at once, what it found and how it
ended. What fails is tried again as ``pipeline.failures`` has it; then it is parked, and either
stops the graph or lets it go on without what this stage would have found.
"""

import logging
import math
import time
from abc import abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from celery.exceptions import Ignore, Reject, TaskPredicate
from propcache.api import cached_property

from pipeline import failures
from pipeline.error_queues import ErrorQueues
from pipeline.errors import DeadlinePassed, PoisonMessage, StoreUnavailable
from pipeline.forgetting import CDN_ERRORS, Forgetting
from pipeline.graph import stage_behind, step_of
from pipeline.keys import stage_key
from pipeline.messages import ImageMessage
from pipeline.purge import purge_of_objects
from pipeline.queues import Stage, lane_queue, queue_of
from pipeline.records import (
    CatalogueImage,
    Category,
    ImageMetadata,
    ImageRelevance,
    ImageState,
    StageRecord,
)
from pipeline.scoring import Scorer
from pipeline.stores.documents import PixelFact
from tasks.outage import outlast
from tasks.parking import ParkingTask, park, routing_key
from tasks.runtime import Runtime, runtime

log = logging.getLogger(__name__)

# Of the time after which an image counts as stuck.
STILL_RECENT = 0.25

SUPERSEDED = "superseded"
FAILED = "failed"


@dataclass(frozen=True)
class Run:
    """One run of a stage for one image.

    Attributes:
        found: what goes into the metadata, by dotted paths, together with how the stage ended.
        changes: what goes into the row, likewise.
        facts: what was found in some bytes, by their SHA-256.
        relevance: rows of ``imgrel`` that take the place of the image's.
        written: what was found and is written already.
    """

    message: ImageMessage
    image: CatalogueImage
    metadata: ImageMetadata | None
    runtime: Runtime
    found: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    facts: list[tuple[str, PixelFact]] = field(default_factory=list)
    relevance: list[ImageRelevance] = field(default_factory=list)
    written: dict[str, Any] = field(default_factory=dict)
    _pixel_facts: dict[tuple[str, str], dict[str, Any] | None] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int]:
        """(docid, product_id)."""
        return self.image.docid, self.image.product_id

    @property
    def fence(self) -> tuple[str, int, int]:
        """(docid, product_id, generation), as fenced writes take them."""
        return self.image.docid, self.image.product_id, self.image.generation

    @property
    def categories(self) -> list[Category]:
        """Those that the image's business is listed under, in order."""
        return self._listing[0]

    @cached_property
    def business_name(self) -> str:
        """Of the image's business; empty where that is not known."""
        docid = self.image.docid
        business = self.runtime.stores.documents.businesses([docid]).get(docid)
        return business.name if business else ""

    @cached_property
    def scorer(self) -> Scorer:
        """The scorer for the vocabulary as it stood when the run first asked."""
        return self.runtime.scorer(self._listing[1])

    @cached_property
    def _listing(self) -> tuple[list[Category], str]:
        return self.runtime.stores.directory.listing(self.image.docid)

    def pixel_fact(self, kind: str, model: str) -> dict[str, Any] | None:
        """What a model has found of this kind in the original's bytes; read once."""
        if (kind, model) not in self._pixel_facts:
            documents = self.runtime.stores.documents
            self._pixel_facts[kind, model] = documents.pixel_fact(self.image.sha256, kind, model)
        return self._pixel_facts[kind, model]

    def write(self) -> bool:
        """Write what was found so far, for others to see; False where the image has moved on."""
        self.runtime.right_of_way.give_way()
        stands = self.runtime.stores.documents.write_findings(
            *self.fence, self.found, self.changes, self.facts, self.relevance
        )
        self.written.update(self.found)
        for left in (self.found, self.changes, self.facts, self.relevance):
            left.clear()
        return stands


class StageTask(ParkingTask):
    """Base class of the six stages.

    Attributes:
        stage: which one it is.
        stops_on: failures that end the image. Any other is parked, and the graph goes on.
        goes_on_after: those among them that do not, since what the stage found is written by then.
    """

    stage: ClassVar[Stage]
    stops_on: ClassVar[tuple[type[Exception], ...]] = ()
    goes_on_after: ClassVar[tuple[type[Exception], ...]] = ()
    # How often to try again follows from the error, in `run`.
    max_retries = None

    @abstractmethod
    def inputs(self, run: Run) -> tuple[Any, ...]:
        """All that the result depends on; hashed, it is the key under which the run is recorded."""

    @abstractmethod
    def work(self, run: Run) -> str:
        """Do it; returns a few words for the record. Every write is fenced.

        What belongs to the image is left in ``run.found``, ``run.changes`` and ``run.relevance``.
        """

    def run(self, body: Any) -> dict[str, Any]:
        """What Celery calls; the consumer has seen to it that it is with a message that fits."""
        message = ImageMessage.decode(body)
        here = runtime()
        try:
            _, lane = queue_of(routing_key(self.request))
            with here.right_of_way.run(lane):
                if self._redelivered():
                    return self._run_alone(message, here)
                watched = here.watchdog.watch(self.request.id, here.settings.stage_deadline)
                with here.isolation.together(), watched:
                    return self._run(message, here)
        except TaskPredicate:
            raise
        except Exception as raised:  # noqa: BLE001 - the boundary of a stage: parked, not swallowed
            error = failures.of_ours(raised)
            if self.request.retries < failures.retries(error, here.settings):
                raise self._again(message, error, here) from error
            return self._fail(message, error, here)

    def _again(self, message: ImageMessage, error: Exception, here: Runtime) -> BaseException:
        """Send the message once more, with a delay; the broker keeps it, not this slot.

        A broker that does not take it gives the message at hand to a worker again.
        """
        delay = failures.delay(error, self.request.retries, here.settings)
        fence = (message.docid, message.product_id, message.generation)
        # If it is this store that is away, the reconciler may send a copy, which is harmless.
        with suppress(StoreUnavailable):
            here.stores.documents.update_image(*fence, {"moved_at": time.time() + delay})
        queue = lane_queue(*queue_of(routing_key(self.request)))
        # RabbitMQ's delays are whole seconds.
        try:
            return self.retry(exc=error, countdown=math.ceil(delay), queue=queue, throw=False)
        except Reject as refusal:
            # Celery would have it dropped.
            return Reject(refusal.reason, requeue=True)

    def _run_alone(self, message: ImageMessage, here: Runtime) -> dict[str, Any]:
        """Run what has been delivered before, and may have ended its process then."""
        with here.isolation.alone():
            documents = here.stores.documents
            deliveries = documents.count_delivery(self.request.id)
            if deliveries > here.settings.max_deliveries:
                cause = documents.delivery_cause(self.request.id)
                if cause:
                    raise DeadlinePassed(f"{cause}, {deliveries} times")
                raise PoisonMessage(f"the worker process ended {deliveries} times while running it")
            try:
                with here.watchdog.watch(self.request.id, here.settings.stage_deadline):
                    return self._run(message, here)
            finally:
                # The process has survived it, however it ended. Without this, a message that comes
                # back because connections are lost would be taken for poison in the end.
                documents.forget_deliveries(self.request.id)

    def _run(self, message: ImageMessage, here: Runtime) -> dict[str, Any]:
        started = time.time()
        documents = here.stores.documents
        image, metadata = documents.image_and_metadata(message.docid, message.product_id)
        if image is None or not _is_current(image, message):
            log.info("%s/%s has moved on, nothing to do", message.docid, message.product_id)
            return {"outcome": SUPERSEDED}
        run = Run(message, image, metadata, here)
        key = stage_key(self.stage, *self.inputs(run))
        if documents.stage_ended(run.metadata, self.stage, key):
            self._ignore_copy(run)
            self.recorded(run)
            self.ended(run)
            return {"outcome": "done", "detail": "done before"}
        # Only now: a late copy must not bring back an image that is done.
        if not self._is_known_here(run, started):
            moved = {"stage": self.stage, "state": ImageState.QUEUED, "moved_at": started}
            documents.update_image(*run.fence, moved)
        detail = self.work(run)
        if not self._record(run, key, "done", detail, started):
            return self._overtaken(message, here)
        self.recorded(run)
        return {"outcome": "done", "detail": detail}

    def _is_known_here(self, run: Run, now: float) -> bool:
        """Whether the row has said so for so short a time that the reconciler will not look at it.

        Whoever ended the stage before has written it, with what it found.
        """
        row = run.image
        is_recent = now - row.moved_at < run.runtime.settings.stuck_after * STILL_RECENT
        return is_recent and row.state is ImageState.QUEUED and row.stage in step_of(self.stage)

    def _overtaken(self, message: ImageMessage, here: Runtime) -> dict[str, Any]:
        """End a run whose image was deleted or replaced under it.

        Of a deleted one goes, too, what this run has just left in stores that know no fence.
        """
        log.info("%s/%s has moved on meanwhile", message.docid, message.product_id)
        row = here.stores.documents.image(message.docid, message.product_id)
        if row is not None and row.state is ImageState.DELETED:
            withdraw = ErrorQueues(self.app).withdraw
            purge = purge_of_objects(here.settings, here.stores.objects)
            # A CDN that cannot be asked is told by whoever ends the deletion.
            with suppress(*CDN_ERRORS):
                forgetting = Forgetting(here.stores, withdraw, purge)
                forgetting.image(message.docid, message.product_id)
        return {"outcome": SUPERSEDED}

    def _ignore_copy(self, run: Run) -> None:
        """End here when this message is a copy of the one that ended the stage.

        A worker that dies between sending the next message and acknowledging its own sends the next
        one twice, under one id. The first goes on; if it was lost on its way, it comes back marked
        as redelivered, and goes on then. So does a retry, which has the same id, too: a store went
        away between the record and what follows it.
        """
        record = run.metadata.stages[self.stage.value] if run.metadata else None
        came_before = self._redelivered() or self.request.retries
        if record and record.task_id == self.request.id and not came_before:
            log.info("task %s has been done, this is a copy of its message", self.request.id)
            raise Ignore

    def _redelivered(self) -> bool:
        return bool((self.request.delivery_info or {}).get("redelivered"))

    def recorded(self, run: Run) -> None:
        """Called once what the stage found is written, and again if its message comes back."""

    def ended(self, run: Run) -> None:
        """Called when the stage had ended well before this run."""
        run.runtime.stores.documents.update_image(*run.fence, {"moved_at": time.time()})

    def _record(self, run: Run, key: str, outcome: str, detail: str, started: float) -> bool:
        now = time.time()
        record = StageRecord(
            key=key,
            outcome=outcome,
            ended_at=now,
            seconds=now - started,
            detail=detail,
            task_id=self.request.id,
        )
        run.found[f"stages.{self.stage.value}"] = record.model_dump(mode="json")
        run.changes["moved_at"] = now
        if behind := stage_behind(self.stage):
            run.changes["stage"] = behind
        return run.write()

    def _fail(self, message: ImageMessage, error: Exception, here: Runtime) -> dict[str, Any]:
        """Park the failure, and stop the graph by raising or go on."""
        image = outlast(lambda: here.stores.documents.image(message.docid, message.product_id))
        if image is None or not _is_current(image, message):
            return outlast(lambda: self._overtaken(message, here))
        log.warning(
            "%s failed for %s/%s: %s: %s",
            self.stage.value,
            message.docid,
            message.product_id,
            type(error).__name__,
            error,
        )
        stops = isinstance(error, (*self.stops_on, StoreUnavailable))
        ends_image = stops and not isinstance(error, self.goes_on_after)
        park(self.app, self.request, error, ends_image=ends_image)
        if ends_image:
            raise error
        record = StageRecord(
            key="", outcome=FAILED, ended_at=time.time(), detail=f"{type(error).__name__}: {error}"
        )
        fence = (message.docid, message.product_id, message.generation)
        failed = {f"stages.{self.stage.value}": record.model_dump(mode="json")}
        outlast(lambda: here.stores.documents.patch_metadata(*fence, failed))
        outlast(lambda: self.degrade(fence, here))
        return {"outcome": FAILED, "detail": str(error)}

    def degrade(self, fence: tuple[str, int, int], here: Runtime) -> None:
        """Called after a failure was parked and before the graph goes on without this stage."""
        here.stores.documents.update_image(*fence, {"moved_at": time.time()})


def _is_current(image: CatalogueImage, message: ImageMessage) -> bool:
    """Whether no newer photo and no deletion has taken the place of the one in the message."""
    return image.generation == message.generation and image.state is not ImageState.DELETED
