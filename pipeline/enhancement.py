"""What is done to a picture: the enhancement policy, and putting the result together.

The network itself is a model; here is decided whether, by how much and to what size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from pipeline.imaging import Picture, fit, resize
from pipeline.messages import ImageType
from pipeline.settings import Settings

# Part of every idempotency key of the stage: raise it when the same pixels give another result.
POLICY_VERSION = 2

# Filter strength of non-local means at full denoising, in standard deviations of the noise in the
# gray picture. PSNR of three photos with Gaussian noise of 20 in each channel: 22.4 dB as they
# were, 27.1 at a half of this, 28.4 at three quarters, 28.2 at all of it.
FILTERING = 1.6
# What "asked for" gets where there is little noise: OpenCV's own default.
GENTLEST = 3.0

NON_LOCAL_MEANS = "non-local-means"

Upscale = Callable[[np.ndarray, int], np.ndarray]
"""Super-resolution: RGB (H, W, 3) uint8 and a scale, to RGB of exactly that many times the size."""

Restore = Callable[[np.ndarray], np.ndarray]
"""Face restoration: RGB (H, W, 3) uint8 to the same size."""


@dataclass(frozen=True)
class Choice:
    """Which models see to a picture of some type, as kinds of the registry.

    ``reason`` says why, for the record.
    """

    enhancer: Literal["enhancer", "text_enhancer"]
    restores_faces: bool
    reason: str


def choose(image_type: ImageType, settings: Settings) -> Choice:
    """By the type that the producer gave: text and faces have models of their own, if configured.

    Networks that invent texture make other letters and other people of small ones.
    """
    if image_type == "text":
        if settings.text_enhancer:
            return Choice("text_enhancer", False, "text: the text enhancer")
        return Choice("enhancer", False, "text: as general, no text enhancer is configured")
    if image_type == "face":
        if settings.face_restorer:
            return Choice("enhancer", True, "face: as general, then the face restorer")
        return Choice("enhancer", False, "face: as general, no face restorer is configured")
    return Choice("enhancer", False, "general")


@dataclass(frozen=True)
class Plan:
    """What to do with one picture.

    ``scale`` is the network's, 1 where none runs; ``width`` and ``height`` are the result's;
    ``denoise`` is the filter strength of non-local means before it, 0-255, 0 where that is not run.
    """

    action: Literal["kept", "enhanced", "denoised"]
    width: int
    height: int
    scale: int
    reason: str
    denoise: float = 0.0


def plan(
    width: int,
    height: int,
    noise: float,
    *,
    force: bool,
    scales: Sequence[int],
    settings: Settings,
    network_denoises: bool = False,
) -> Plan:
    """Decide by size and noise.

    Args:
        width, height: of the picture, pixels.
        noise: standard deviation of its noise, 0-255.
        force: enhance in any case.
        scales: what the enhancer can do.
        network_denoises: the network removes noise as strongly as the settings ask.
    """
    goal = fit(width, height, settings.target_width, settings.target_height)
    is_noisy = noise > settings.noise_limit
    filtering = FILTERING * settings.denoise_strength * noise
    before = filtering if is_noisy and not network_denoises else 0.0
    too_noisy = f"noise {noise:.0f} is above {settings.noise_limit:.0f}"
    if goal[0] > width:
        needed = goal[0] / width
        scale = next((scale for scale in sorted(scales) if scale >= needed), max(scales))
        reason = f"smaller than {goal[0]}x{goal[1]}" + (f", {too_noisy}" if before else "")
        return Plan("enhanced", *goal, scale, reason, before)
    if not force and not is_noisy:
        return Plan("kept", width, height, 1, f"meets {goal[0]}x{goal[1]} already")
    reason = "asked for" if force else too_noisy
    # A picture that is large enough goes through the network only where that stays affordable.
    if force and width * height <= settings.target_width * settings.target_height:
        return Plan("enhanced", width, height, min(scales), reason, before)
    if not settings.denoise_strength:
        return Plan("kept", width, height, 1, f"{reason}, but denoising is off")
    return Plan("denoised", width, height, 1, reason, max(filtering, GENTLEST))


def carry_out(
    plan: Plan, picture: Picture, upscale: Upscale, restore: Restore | None = None
) -> Picture:
    """The picture that the plan asks for, keeping transparency and the absence of colour.

    ``restore`` sees the picture in its final size.
    """
    if plan.action == "kept":
        return picture
    rgb = denoise(picture.rgb, plan.denoise) if plan.denoise else picture.rgb
    if plan.scale > 1:
        rgb = upscale(rgb, plan.scale)
    rgb = resize(rgb, plan.width, plan.height)
    if restore:
        rgb = restore(rgb)
    alpha = picture.alpha
    if alpha is not None:
        alpha = resize(alpha, plan.width, plan.height)
    return Picture(rgb, alpha, picture.gray)


def denoise(rgb: np.ndarray, filtering: float) -> np.ndarray:
    """Non-local means (Buades, Coll and Morel 2005) of that filter strength on (H, W, 3) uint8."""
    return cv2.fastNlMeansDenoisingColored(
        np.ascontiguousarray(rgb), None, filtering, filtering, 5, 15
    )
