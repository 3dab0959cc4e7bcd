"""How the system is doing, at one glance: queues, stages, dead letters, throughput, dependencies.

Every figure is a bounded read, whatever the size of the directory. What cannot be reached is left
out, and said to be.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from statistics import median
from typing import TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from api.dead_letters import Cause, Which, causes
from api.operations import Readiness, readiness
from api.problems import problem_responses
from api.wiring import Services, ServicesOf
from pipeline.backlog import ALL, Backlog
from pipeline.errors import BrokerUnavailable, ConfigurationError, StoreUnavailable
from pipeline.queues import QUEUES, Lane, Stage, error_queue
from pipeline.records import StageRecord
from pipeline.stores.documents import DocumentStore
from pipeline.topology import UNROUTED_QUEUE
from pipeline.workers import Worker

MINUTES = 60
# Images whose stages are looked at: enough for a 95th percentile, and read in milliseconds.
SAMPLE = 200

T = TypeVar("T")

router = APIRouter(prefix="/v1/operations", tags=["operations"])


class QueueFigures(BaseModel):
    """What waits in a queue."""

    queue: str
    interactive: int = Field(description="Messages that wait in the interactive lane.")
    bulk: int = Field(description="Messages that wait in the bulk lane.")
    errors: int = Field(description="Messages in `error.<queue>`, with a record or without.")


class QueuesFigures(BaseModel):
    """What the broker holds."""

    queues: list[QueueFigures]
    unrouted: int = Field(description="Messages that were sent to a queue that there is not.")


class StageFigures(BaseModel):
    """How a stage went for the images that were done last."""

    stage: Stage
    images: int = Field(description=f"How many of the last {SAMPLE} went through it.")
    failed: int = Field(description="How many of these went on without it.")
    median_seconds: float | None = Field(description="Of those that did not fail.")
    p95_seconds: float | None = Field(description="95 % of them took no longer.")


class ImageFigures(BaseModel):
    """What the document store knows."""

    done_by_minute: list[int] = Field(
        description=f"Images done in each of the last {MINUTES} minutes, oldest first."
    )
    stages: list[StageFigures]
    dead_letters: list[Cause] = Field(description="How many, by cause; most first.")


class Overview(BaseModel):
    """How the system is doing; what could not be reached is null."""

    at: float = Field(description="Unix time.")
    readiness: Readiness
    broker: QueuesFigures | None
    workers: list[Worker] | None
    images: ImageFigures | None


@router.get(
    "",
    summary="How the system is doing",
    responses=problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def operations(request: Request, services: ServicesOf) -> Overview:
    """Answers with what it can reach: a dependency that is away costs its own figures alone."""
    return await overview(services, request.app.state.needs)


async def overview(services: Services, needs: Sequence[str]) -> Overview:
    """Ask all parts at once, so that none waits for another that is away."""
    now = time.time()
    others = [name for name in needs if name != "broker"]
    (
        troubles,
        (backlog, broker_trouble),
        (workers, _),
        (images, images_trouble),
    ) = await asyncio.gather(
        run_in_threadpool(services.checks, others),
        run_in_threadpool(_reached, services.broker.backlog),
        run_in_threadpool(_reached, services.workers),
        run_in_threadpool(_reached, lambda: _images(services.stores.documents, now)),
    )
    troubles["broker"] = broker_trouble
    # A store that comes and goes may have answered the first question alone.
    troubles["documents"] = troubles["documents"] or images_trouble
    return Overview(
        at=now,
        readiness=readiness(troubles),
        broker=None if backlog is None else _queues(backlog),
        workers=workers,
        images=images,
    )


def _reached(call: Callable[[], T]) -> tuple[T | None, str]:
    """What a call returns, or why it could not."""
    try:
        return call(), ""
    except (BrokerUnavailable, StoreUnavailable, ConfigurationError) as error:
        return None, str(error)


def _queues(backlog: Backlog) -> QueuesFigures:
    interactive, bulk = (lane.name.lower() for lane in (Lane.INTERACTIVE, Lane.BULK))
    return QueuesFigures(
        queues=[
            QueueFigures(
                queue=queue,
                interactive=backlog[queue, interactive],
                bulk=backlog[queue, bulk],
                errors=backlog[error_queue(queue), ALL],
            )
            for queue in QUEUES
        ],
        unrouted=backlog[UNROUTED_QUEUE, ALL],
    )


def _images(documents: DocumentStore, now: float) -> ImageFigures:
    last = documents.last_stages(SAMPLE)
    return ImageFigures(
        done_by_minute=documents.finished_images(now, 60.0, MINUTES),
        stages=[
            _stage(stage, [ended[stage] for ended in last if stage in ended]) for stage in Stage
        ],
        dead_letters=causes(documents, Which()),
    )


def _stage(stage: Stage, records: Sequence[StageRecord]) -> StageFigures:
    seconds = sorted(record.seconds for record in records if record.outcome != "failed")
    return StageFigures(
        stage=stage,
        images=len(records),
        failed=len(records) - len(seconds),
        median_seconds=median(seconds) if seconds else None,
        # The nearest rank.
        p95_seconds=seconds[math.ceil(0.95 * len(seconds)) - 1] if seconds else None,
    )
