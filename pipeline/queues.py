"""The queues, the stages they carry and the lanes within them.

A stage, its queue and its Celery task bear one name, so that a log line, a row in Flower and a
dead letter all speak of the same thing.
"""

from enum import IntEnum, StrEnum


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

    The values are priorities of kombu's Redis transport, where the lower number goes first.
    """

    INTERACTIVE = 0
    BULK = 9


JOBS = "image_jobs"
RETRAINING = "sbert_retraining"

QUEUES = (*(stage.value for stage in Stage), JOBS, RETRAINING)

GPU_QUEUES = (Stage.ENHANCE.value, Stage.TAG.value, Stage.ALT_TEXT.value)
CPU_QUEUES = tuple(queue for queue in QUEUES if queue not in GPU_QUEUES)

# Slots a worker opens for a queue. A slot waits for its batch, its disk or its server most of the
# time, so that the number is the largest batch twice over for the enhancer and small elsewhere.
SLOTS = {
    Stage.ENHANCE.value: 16,
    Stage.TAG.value: 4,
    Stage.DESCRIBE.value: 4,
    Stage.SCORE.value: 4,
    Stage.UPDATE.value: 2,
    Stage.ALT_TEXT.value: 2,
    JOBS: 2,
    RETRAINING: 1,
}


def error_queue(queue: str) -> str:
    """The queue that holds the dead letters of ``queue``."""
    return f"error.{queue}"
