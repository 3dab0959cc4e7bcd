"""``image_enhance_update``: write the enhanced version's address, size and hash back.

Once that is visible, other systems are told and the CDN is purged.
"""

import logging
import threading
import time
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any

from pipeline.dead_letters import Publisher
from pipeline.errors import BrokerUnavailable, ConfigurationError, PurgeFailed, PurgeRefused
from pipeline.imaging import decode
from pipeline.keys import stage_key
from pipeline.messages import ImageEnhanced
from pipeline.purge import open_purge, public_address
from pipeline.queues import ENHANCED_PRODUCTS, Stage
from pipeline.records import Enhancement
from tasks.batcher import Batcher
from tasks.enhance import enhancement_model, original, unchanged
from tasks.runtime import Runtime, runtime
from tasks.stage import Run, StageTask

log = logging.getLogger(__name__)

# What one image wants purged, and what came of it: none when all went well.
Purger = Batcher[tuple[str, ...], PurgeFailed | None]

_opening = threading.Lock()


class Update(StageTask):
    """Where the enhancement failed, the original takes its place and the record says so.

    An event that could not be published and a purge that failed for good are parked and recorded
    as the stage's failure, so that a replay tries again; the write-back stays, the image goes on.
    """

    name = Stage.UPDATE.value
    stage = Stage.UPDATE
    stops_on = (Exception,)
    goes_on_after = (BrokerUnavailable, PurgeFailed, PurgeRefused)

    def inputs(self, run: Run) -> tuple[Any, ...]:
        fact = _fact(run)
        return run.image.sha256, fact["key"] if fact else None

    def work(self, run: Run) -> str:
        fact = _fact(run)
        enhancement = Enhancement.model_validate(fact) if fact else _without(run)
        run.found["enhancement"] = enhancement.model_dump(mode="json")
        run.changes["width"] = enhancement.source_width
        run.changes["height"] = enhancement.source_height
        settings = run.runtime.settings
        others = settings.announce or settings.cdn_purge != "none"
        if others and enhancement.action in ("enhanced", "denoised") and run.write():
            if settings.announce:
                event = _event(run, enhancement)
                Publisher(self.app)(ENHANCED_PRODUCTS, event.model_dump(mode="json"))
            _purge(_stale(run, enhancement), run.runtime)
        return enhancement.action


def _without(run: Run) -> Enhancement:
    """The record of an image whose enhancement failed."""
    image, content = original(run)
    picture = decode(content, run.runtime.settings.max_pixels)
    failed = run.metadata.stages.get(Stage.ENHANCE.value) if run.metadata else None
    detail = failed.detail if failed else "the enhancer has left no result"
    return unchanged(image, picture, "failed", detail)


def _fact(run: Run) -> dict[str, Any] | None:
    model = enhancement_model(run.runtime, run.image)
    return run.pixel_fact("enhancement", model)


def _event(run: Run, enhancement: Enhancement) -> ImageEnhanced:
    settings, objects, image = run.runtime.settings, run.runtime.stores.objects, run.image
    enhanced = run.metadata.stages.get(Stage.ENHANCE.value) if run.metadata else None
    return ImageEnhanced(
        event_id=stage_key(*run.fence, enhancement.sha256),
        docid=image.docid,
        product_id=image.product_id,
        generation=image.generation,
        product_url=image.url,
        original_url=public_address(objects.url(image.original_key), settings),
        enhanced_url=public_address(objects.url(enhancement.key), settings),
        width=enhancement.width,
        height=enhancement.height,
        size=enhancement.size,
        sha256=enhancement.sha256,
        action=enhancement.action,
        enhanced_at=enhanced.ended_at if enhanced else time.time(),
        correlation_id=run.message.correlation_id,
    )


def _stale(run: Run, enhancement: Enhancement) -> tuple[str, ...]:
    """The addresses under which an edge may keep something else than it would be given now.

    The enhanced object is named by its hash, so that no edge has older bytes of it; one that was
    asked too early may keep the answer that there is none. Where the photo came from an address of
    its own, that is what pages have shown so far, and the edge may serve the enhanced version in
    its place. The stored original is named by its hash, too, and was there before anybody knew it.
    """
    objects, settings = run.runtime.stores.objects, run.runtime.settings
    own = (run.image.url,) if run.image.url else ()
    return public_address(objects.url(enhancement.key), settings), *own


def _purge(addresses: tuple[str, ...], here: Runtime) -> None:
    """Purge in a batch with what other images want purged.

    Raises:
        PurgeFailed, PurgeRefused: see ``pipeline.purge``.
    """
    try:
        with _opening:
            purger = _open_purger()
    except ConfigurationError as error:
        raise PurgeRefused(str(error)) from error
    if purger is None:
        return
    try:
        # Half of the deadline: a slow CDN is no reason for the watchdog to end the process.
        failure = purger(addresses, timeout=here.settings.stage_deadline / 2)
    except TimeoutError:
        raise PurgeFailed("the CDN takes too long for what waits to be purged") from None
    if failure is not None:
        raise PurgeFailed(str(failure), failure.retry_after)


@lru_cache(maxsize=1)
def _open_purger() -> Purger | None:
    """The batcher of this process, in front of its CDN; none where there is no CDN."""
    settings = runtime().settings
    purge = open_purge(settings)
    if purge is None:
        return None

    def forward(
        _group: Hashable, images: Sequence[tuple[str, ...]]
    ) -> Sequence[PurgeFailed | None]:
        addresses = list(dict.fromkeys(address for image in images for address in image))
        try:
            purge(addresses)
        except PurgeFailed as error:
            # Given back instead of raised: the batcher would try each image alone, at a CDN that
            # is down or has asked for fewer requests. A refusal may be one image's alone.
            return [error] * len(images)
        log.info("purged %d addresses of %d images", len(addresses), len(images))
        return [None] * len(images)

    return Batcher(forward, settings.cdn_purge_batch, settings.cdn_purge_wait)
