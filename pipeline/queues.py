"""The queues, the stages they carry and the lanes within them.

A stage, its queue and its Celery task bear one name, so that a log line, a row in Flower and a
dead letter all speak of the same thing.
"""

import re
from collections.abc import Collection
from enum import IntEnum, StrEnum
from functools import lru_cache


class Stage(StrEnum):
    """The six stages of an image, in the order of the graph."""

    ENHANCE = "image_enhance_process"
    UPDATE = "image_enhance_update"
    TAG = "image_tag_process"
    DESCRIBE = "image_relevance_process"
    SCORE = "image_relevance_score"
    ALT_TEXT = "image_relevance_seo_process"


class Lane(IntEnum):
    """Two lanes in every queue: the bulk lane is drained when the interactive one is empty.

    To a broker a lane is a queue of its own, since quorum queues know no priorities on RabbitMQ 3,
    and before 4.3 no more than two.
    """

    INTERACTIVE = 0
    BULK = 9


JOBS = "image_jobs"
RETRAINING = "sbert_retraining"
# Outbound: other systems take its events, none of our workers does.
ENHANCED_PRODUCTS = "image_enhanced_products"

QUEUES = (*(stage.value for stage in Stage), JOBS, RETRAINING)

GPU_QUEUES = (Stage.ENHANCE.value, Stage.TAG.value, Stage.ALT_TEXT.value)
# Slots that wait for another server most of the time.
IO_QUEUES = (Stage.DESCRIBE.value,)
CPU_QUEUES = tuple(queue for queue in QUEUES if queue not in (*GPU_QUEUES, *IO_QUEUES))

# Slots a worker opens for a queue. A slot waits for its batch, its disk or its server most of the
# time, so that the number is the largest batch twice over for the enhancer and small elsewhere.
SLOTS = {
    Stage.ENHANCE.value: 16,
    Stage.TAG.value: 4,
    Stage.DESCRIBE.value: 4,
    Stage.SCORE.value: 4,
    # As many as fit in one purge of a CDN.
    Stage.UPDATE.value: 8,
    Stage.ALT_TEXT.value: 2,
    JOBS: 2,
    RETRAINING: 1,
}


def shared_out(concurrency: int, queues: Collection[str]) -> dict[str, int]:
    """The slots of a worker dealt out to its queues as ``SLOTS`` has it, at least one for each."""
    whole = sum(SLOTS.get(queue, 1) for queue in queues)
    return {queue: max(1, concurrency * SLOTS.get(queue, 1) // whole) for queue in queues}


_BULK = ".bulk"
# What RabbitMQ's delayed delivery puts before a routing key: a binary digit for each of its levels.
_DELAY = re.compile(r"^(?:[01]\.)+")


def lane_queue(queue: str, lane: Lane) -> str:
    """The broker's name of one lane of ``queue``."""
    return f"{queue}{_BULK}" if lane is Lane.BULK else queue


@lru_cache(maxsize=1024)
def queue_of(routing_key: str) -> tuple[str, Lane]:
    """The queue and the lane that a message was sent to, whatever delay it had."""
    name = _DELAY.sub("", routing_key)
    lane = Lane.BULK if name.endswith(_BULK) else Lane.INTERACTIVE
    return name.removesuffix(_BULK), lane


def error_queue(queue: str) -> str:
    """The queue that holds the dead letters of ``queue``."""
    return f"error.{queue}"
