"""``image_enhance_process``: decide, super-resolve and denoise, write the enhanced object."""

import hashlib
import logging
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from models.quality import noise_sigma
from pipeline.enhancement import POLICY_VERSION, carry_out, plan
from pipeline.errors import (
    FetchFailed,
    FetchRefused,
    InvalidMessage,
    ObjectMissing,
    UndecodableImage,
)
from pipeline.fetch import fetch
from pipeline.imaging import Picture, content_type, count_pixels, decode, encode
from pipeline.keys import stage_key
from pipeline.metrics import BATCH_SIZE
from pipeline.queues import Stage
from pipeline.records import CatalogueImage, Enhancement
from pipeline.stores.objects import object_key
from tasks.batcher import Batcher
from tasks.runtime import Runtime, runtime
from tasks.stage import Run, StageTask

log = logging.getLogger(__name__)


class Enhance(StageTask):
    """The first stage; it fetches the original where only its address is known."""

    name = Stage.ENHANCE.value
    stage = Stage.ENHANCE
    stops_on = (UndecodableImage, ObjectMissing, FetchRefused, FetchFailed, InvalidMessage)

    def inputs(self, run: Run) -> tuple[Any, ...]:
        return run.image.sha256 or run.image.url, enhancement_model(run.runtime, run.image)

    def work(self, run: Run) -> str:
        here = run.runtime
        image, content = original(run)
        model = enhancement_model(here, image)
        fact = here.stores.documents.pixel_fact(image.sha256, "enhancement", model)
        if fact is not None:
            return f"{fact['action']}, as for the same picture before"
        with here.pixels.take(count_pixels(content)):
            picture = decode(content, here.settings.max_pixels)
            result = self._enhance(picture, image, here)
        here.stores.documents.save_pixel_fact(
            image.sha256, "enhancement", model, result.model_dump(mode="json")
        )
        return f"{result.action}: {result.detail}"

    def _enhance(self, picture: Picture, image: CatalogueImage, here: Runtime) -> Enhancement:
        enhancer = here.model("enhancer")
        decision = plan(
            picture.width,
            picture.height,
            noise_sigma(cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2GRAY)),
            force=image.force,
            scales=enhancer.scales,
            settings=here.settings,
        )
        if decision.action == "kept":
            return unchanged(image, picture, "kept", decision.reason)
        result = carry_out(decision, picture, lambda rgb, scale: batcher()(rgb, scale))
        content, kind = encode(result)
        sha256 = hashlib.sha256(content).hexdigest()
        key = object_key("enhanced", sha256, kind)
        here.stores.objects.put(key, content)
        return Enhancement(
            action=decision.action,
            key=key,
            sha256=sha256,
            size=len(content),
            width=result.width,
            height=result.height,
            content_type=kind,
            source_width=picture.width,
            source_height=picture.height,
            model=enhancer.identity if decision.scale > 1 else "non-local-means",
            detail=decision.reason,
        )


def unchanged(image: CatalogueImage, picture: Picture, action: str, detail: str) -> Enhancement:
    """The original in the place of an enhanced version."""
    return Enhancement(
        action=action,
        key=image.original_key,
        sha256=image.sha256,
        size=image.size,
        width=picture.width,
        height=picture.height,
        content_type=image.content_type,
        source_width=picture.width,
        source_height=picture.height,
        detail=detail,
    )


def enhancement_model(here: Runtime, image: CatalogueImage) -> str:
    """The identity under which an enhancement is shared: network, policy and choices."""
    settings = here.settings
    choices = (image.force, settings.target_width, settings.target_height, settings.noise_limit)
    policy = stage_key(POLICY_VERSION, image.image_type, *choices)
    return f"{here.model('enhancer').identity}/{policy[:8]}"


def original(run: Run) -> tuple[CatalogueImage, bytes]:
    """The row and the bytes of the original, fetched and stored on first use."""
    here, image = run.runtime, run.image
    if image.original_key:
        return image, here.stores.objects.get(image.original_key)
    content = fetch(
        image.url, timeout=here.settings.fetch_timeout, max_bytes=here.settings.max_bytes
    )
    sha256 = hashlib.sha256(content).hexdigest()
    kind = content_type(content)
    key = object_key("originals", sha256, kind)
    here.stores.objects.put(key, content)
    changes = {
        "original_key": key,
        "sha256": sha256,
        "size": len(content),
        "content_type": kind,
    }
    here.stores.documents.update_image(*run.fence, changes)
    return image.model_copy(update=changes), content


@lru_cache(maxsize=1)
def batcher() -> Batcher[np.ndarray, np.ndarray]:
    """The batcher of this process, in front of its one copy of the enhancer."""
    here = runtime()

    def forward(scale: Hashable, images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        results = here.model("enhancer")(images, scale)
        log.info("one forward pass for %d images at x%s", len(images), scale)
        return results

    chosen = here.settings
    return Batcher(forward, chosen.batch_size, chosen.batch_wait, BATCH_SIZE.observe)
