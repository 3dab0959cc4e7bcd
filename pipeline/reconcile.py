"""The reconciler: finds images whose next stage has not begun for a while and sends the rest."""

import logging
import time
from collections.abc import Callable, Collection, Mapping

from pipeline.dead_letters import CONFIRM_SECONDS
from pipeline.graph import Sender, next_stage, step_of
from pipeline.metrics import SENT_AGAIN
from pipeline.queues import Stage
from pipeline.records import CatalogueImage, ImageMetadata, ImageState
from pipeline.settings import Settings
from pipeline.stores.documents import DocumentStore

log = logging.getLogger(__name__)

# Rows that are looked through after a worker has died; any beyond wait for the reconciler.
MOST_LOST = 100_000
# Seconds after which a row that is still ``accepted`` has lost its sender: no send takes so long.
# With the longest wait for the next run it is sent within a minute.
UNSENT_AFTER = 2 * CONFIRM_SECONDS


def is_stuck(image: CatalogueImage, waits_for: Stage, depths: Mapping[str, int]) -> bool:
    """Whether an image that has not moved for ``stuck_after`` is lost rather than waiting.

    A row that was accepted and never queued has no message. A queued one is lost when the queues of
    the step it waits for are empty: with a backlog its message may still be in it.
    """
    if image.state is ImageState.ACCEPTED:
        return True
    return all(depths.get(stage.value, 0) == 0 for stage in step_of(waits_for))


def reconcile(
    documents: DocumentStore,
    send: Sender,
    depths: Mapping[str, int],
    settings: Settings,
    now: float,
    in_flight: Callable[[], Collection[tuple[str, int]]] = frozenset,
) -> int:
    """Send the rest of the graph for every stuck image; returns how many.

    Args:
        depths: messages that wait in each queue.
        now: Unix time.
        in_flight: gives the (docid, product_id) of images that are certain to have a message, for
            a worker may be at one for longer than ``stuck_after``; asked only if some seem stuck.
    """
    unsent = documents.waiting_images(
        ImageState.ACCEPTED, now - min(UNSENT_AFTER, settings.stuck_after)
    )
    stuck = documents.waiting_images(ImageState.QUEUED, now - settings.stuck_after)
    images = [*unsent, *stuck]
    if images:
        certain = in_flight()
        images = [image for image in images if (image.docid, image.product_id) not in certain]
    known = documents.metadata([(image.docid, image.product_id) for image in images])
    sent = 0
    for image in images:
        metadata = known.get((image.docid, image.product_id))
        if send_rest(documents, send, image, metadata, depths):
            sent += 1
    return sent


def send_lost(
    documents: DocumentStore, send: Sender, in_flight: Collection[tuple[str, int]]
) -> int:
    """Send the rest of the graph for every queued image that has no message; returns how many.

    Args:
        in_flight: (docid, product_id) of all images that have one.
    """
    waiting = documents.waiting_images(ImageState.QUEUED, time.time(), MOST_LOST)
    images = [image for image in waiting if (image.docid, image.product_id) not in in_flight]
    known = documents.metadata([(image.docid, image.product_id) for image in images])
    return sum(
        send_rest(documents, send, image, known.get((image.docid, image.product_id)))
        for image in images
    )


def send_rest(
    documents: DocumentStore,
    send: Sender,
    image: CatalogueImage,
    metadata: ImageMetadata | None,
    depths: Mapping[str, int] | None = None,
) -> bool:
    """Rebuild the rest of an image's graph from its records and send it.

    Args:
        depths: when given, an image that may only be waiting in a queue is left alone.

    Returns:
        Whether it was sent.
    """
    start = next_stage(metadata) or Stage.ALT_TEXT
    if depths is not None and not is_stuck(image, start, depths):
        return False
    send(image, start)
    documents.update_image(
        image.docid,
        image.product_id,
        image.generation,
        {"state": ImageState.QUEUED, "stage": start, "moved_at": time.time()},
        only_in=image.state,
    )
    SENT_AGAIN.labels(start.value).inc()
    log.warning(
        "%s/%s was stuck before %s, sent again under %s",
        image.docid,
        image.product_id,
        start.value,
        image.correlation_id,
    )
    return True
