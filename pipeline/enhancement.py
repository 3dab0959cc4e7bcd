"""What is done to a picture: the enhancement policy, and putting the result together.

The network itself is a model; here is decided whether, by how much and to what size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from pipeline.imaging import Picture, fit, resize
from pipeline.settings import Settings

# Part of every idempotency key of the stage: raise it when the same pixels give another result.
POLICY_VERSION = 1

Upscale = Callable[[np.ndarray, int], np.ndarray]
"""Super-resolution: RGB (H, W, 3) uint8 and a scale, to RGB of exactly that many times the size."""


@dataclass(frozen=True)
class Plan:
    """What to do with one picture.

    ``scale`` is the network's, 1 where none runs; ``width`` and ``height`` are the result's.
    """

    action: Literal["kept", "enhanced", "denoised"]
    width: int
    height: int
    scale: int
    reason: str


def plan(
    width: int,
    height: int,
    noise: float,
    *,
    force: bool,
    scales: Sequence[int],
    settings: Settings,
) -> Plan:
    """Decide by size and noise.

    Args:
        width, height: of the picture, pixels.
        noise: standard deviation of its noise, 0-255.
        force: enhance in any case.
        scales: what the enhancer can do.
    """
    goal = fit(width, height, settings.target_width, settings.target_height)
    if goal[0] > width:
        needed = goal[0] / width
        scale = next((scale for scale in sorted(scales) if scale >= needed), max(scales))
        return Plan("enhanced", *goal, scale, f"smaller than {goal[0]}x{goal[1]}")
    if not force and noise <= settings.noise_limit:
        return Plan("kept", width, height, 1, f"meets {goal[0]}x{goal[1]} already")
    # A picture that is large enough goes through the network only where that stays affordable.
    if force and width * height <= settings.target_width * settings.target_height:
        return Plan("enhanced", width, height, min(scales), "asked for")
    reason = "asked for" if force else f"noise {noise:.0f} is above {settings.noise_limit:.0f}"
    return Plan("denoised", width, height, 1, reason)


def carry_out(plan: Plan, picture: Picture, upscale: Upscale) -> Picture:
    """The picture that the plan asks for, keeping transparency and the absence of colour."""
    if plan.action == "kept":
        return picture
    rgb = picture.rgb if plan.scale == 1 else upscale(picture.rgb, plan.scale)
    if plan.action == "denoised":
        rgb = denoise(rgb)
    rgb = resize(rgb, plan.width, plan.height)
    alpha = picture.alpha
    if alpha is not None:
        alpha = resize(alpha, plan.width, plan.height)
    return Picture(rgb, alpha, picture.gray)


def denoise(rgb: np.ndarray) -> np.ndarray:
    """Non-local means (Buades, Coll and Morel 2005) on (H, W, 3) uint8."""
    return cv2.fastNlMeansDenoisingColored(np.ascontiguousarray(rgb), None, 5, 5, 5, 15)
