"""``image_enhance_process``: decide, super-resolve and denoise, write the enhanced object."""

import hashlib
import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np

from models.quality import noise_sigma
from pipeline.enhancement import (
    NON_LOCAL_MEANS,
    POLICY_VERSION,
    Choice,
    Plan,
    carry_out,
    choose,
    plan,
)
from pipeline.errors import (
    FetchFailed,
    FetchRefused,
    InvalidMessage,
    ObjectMissing,
    UndecodableImage,
)
from pipeline.fetch import fetch
from pipeline.imaging import Photo, Picture, content_type, encode
from pipeline.keys import stage_key
from pipeline.messages import ImageMessage, ImageType
from pipeline.metrics import ENHANCED
from pipeline.queues import Stage
from pipeline.records import CatalogueImage, Enhancement
from pipeline.stores.documents import PixelFact
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

    def _run(self, message: ImageMessage, here: Runtime) -> dict[str, Any]:
        with batcher().coming():
            return super()._run(message, here)

    def work(self, run: Run) -> str:
        here = run.runtime
        image, content = original(run)
        model = enhancement_model(here, image)
        fact = here.stores.documents.pixel_fact(image.sha256, "enhancement", model)
        if fact is not None and here.stores.objects.exists(fact["key"]):
            return f"{fact['action']}, as for the same picture before"
        photo = Photo(content, here.settings.max_pixels)
        with here.pixels.take(photo.pixels):
            here.right_of_way.give_way()
            result = self._enhance(photo.decode(), image, here)
        found = PixelFact("enhancement", model, result.model_dump(mode="json"))
        run.facts.append((image.sha256, found))
        return f"{result.action}: {result.detail}"

    def _enhance(self, picture: Picture, image: CatalogueImage, here: Runtime) -> Enhancement:
        improved = improve(
            picture, image.image_type, here, force=image.force, upscale=share_forward_pass
        )
        action, detail = improved.plan.action, improved.plan.reason
        if action == "kept":
            return unchanged(image, picture, action, detail)
        content, kind = encode(improved.picture)
        sha256 = hashlib.sha256(content).hexdigest()
        key = object_key("enhanced", sha256, kind)
        here.stores.objects.put(key, content)
        return Enhancement(
            action=action,
            key=key,
            sha256=sha256,
            size=len(content),
            width=improved.picture.width,
            height=improved.picture.height,
            content_type=kind,
            source_width=picture.width,
            source_height=picture.height,
            model=improved.model,
            choice=improved.choice.reason,
            detail=detail,
        )


@dataclass(frozen=True)
class Improved:
    """A picture that went through the policy, and what was done to it.

    ``model`` lists the identities of what it went through, in their order.
    """

    picture: Picture
    plan: Plan
    choice: Choice
    model: str


def improve(
    picture: Picture,
    image_type: ImageType,
    here: Runtime,
    *,
    force: bool,
    upscale: Callable[[str, np.ndarray, int], np.ndarray],
) -> Improved:
    """Decide what a picture needs, and do it.

    Args:
        upscale: runs the enhancer of that kind on a picture at a scale.
    """
    choice = choose(image_type, here.settings)
    enhancer = here.model(choice.enhancer)
    decision = plan(
        picture.width,
        picture.height,
        noise_sigma(cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2GRAY)),
        force=force,
        scales=enhancer.scales,
        settings=here.settings,
        network_denoises=enhancer.removes_noise,
    )
    restorer = here.model("face_restorer") if choice.restores_faces else None
    result = carry_out(
        decision,
        picture,
        lambda rgb, scale: upscale(choice.enhancer, rgb, scale),
        (lambda rgb: restorer([rgb])[0]) if restorer else None,
    )
    steps = [
        (decision.denoise > 0, NON_LOCAL_MEANS),
        (decision.scale > 1, enhancer.identity),
        (restorer is not None and decision.action != "kept", restorer and restorer.identity),
    ]
    model = ", ".join(name for was_run, name in steps if was_run)
    return Improved(result, decision, choice, model)


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
    """The identity under which an enhancement is shared: networks, policy and choices."""
    settings = here.settings
    choice = choose(image.image_type, settings)
    choices = (
        image.force,
        settings.target_width,
        settings.target_height,
        settings.noise_limit,
        settings.denoise_strength,
        here.model("face_restorer").identity if choice.restores_faces else "",
    )
    policy = stage_key(POLICY_VERSION, image.image_type, *choices)
    return f"{here.model(choice.enhancer).identity}/{policy[:8]}"


def original(run: Run) -> tuple[CatalogueImage, bytes]:
    """The row and the bytes of the original, fetched and stored on first use."""
    here, image = run.runtime, run.image
    if image.original_key:
        return image, here.stores.objects.get(image.original_key)
    content = fetch(
        image.url,
        timeout=here.settings.fetch_timeout,
        max_bytes=here.settings.max_bytes,
        allowed=here.settings.fetch_networks,
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
    # The last photo with the same bytes may have been forgotten since they were stored.
    here.stores.objects.put(key, content)
    return image.model_copy(update=changes), content


def share_forward_pass(kind: str, rgb: np.ndarray, scale: int) -> np.ndarray:
    """Run the enhancer of that kind, together with whatever else of the kind and scale waits."""
    with runtime().right_of_way.waiting():
        return batcher()(rgb, (kind, scale))


@lru_cache(maxsize=1)
def batcher() -> Batcher[np.ndarray, np.ndarray]:
    """The batcher of this process, in front of its one copy of each enhancer."""
    here = runtime()

    def forward(group: Hashable, images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        kind, scale = cast(tuple[str, int], group)
        results = here.model(kind)(images, scale)
        log.info("one forward pass for %d images at x%s", len(images), scale)
        return results

    chosen = here.settings
    return Batcher(forward, chosen.batch_size, chosen.batch_wait, ENHANCED.observe, announced=True)
