"""Pictures for tests, made from numbers."""

import io

import numpy as np
from PIL import Image


def plain(
    colour: tuple[int, int, int] = (128, 128, 128), width: int = 64, height: int = 48, seed: int = 0
) -> np.ndarray:
    """(H, W, 3) uint8 of one colour with a few pixels that the seed makes different."""
    image = np.empty((height, width, 3), dtype=np.uint8)
    image[:] = colour
    generator = np.random.default_rng(seed)
    image[: height // 4, : width // 4] = generator.integers(
        0, 256, (height // 4, width // 4, 1), dtype=np.uint8
    )
    return image


def encoded(image: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """The file of a picture."""
    target = io.BytesIO()
    Image.fromarray(image).save(target, kind, **options)
    return target.getvalue()


def green(seed: int) -> bytes:
    """A PNG of a mostly green picture, another for each seed."""
    return encoded(plain((40, 160, 60), seed=seed))
