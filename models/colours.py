"""The colours of a picture, by name."""

import cv2
import numpy as np

PALETTE: dict[str, tuple[int, int, int]] = {
    "black": (20, 20, 20),
    "grey": (128, 128, 128),
    "white": (245, 245, 245),
    "red": (200, 30, 35),
    "orange": (240, 130, 30),
    "yellow": (245, 215, 60),
    "green": (60, 140, 60),
    "blue": (50, 95, 190),
    "purple": (120, 60, 150),
    "pink": (235, 150, 180),
    "brown": (105, 65, 40),
    "beige": (215, 195, 160),
}
"""The eleven basic colour terms of English (Berlin and Kay 1969) with beige, as sRGB."""

ACHROMATIC = frozenset({"black", "grey", "white"})
CHROMA = 12.0
"""Distance from the grey axis of Lab from which a pixel has a colour."""

SIDE = 64


def dominant(image: np.ndarray, most: int = 2) -> tuple[str, ...]:
    """Names of the colours that cover most of an RGB uint8 image, the largest first.

    At least one and at most `most`: after the first, only colours that cover a fifth or more.
    Every pixel counts for the nearest colour of the palette in CIE Lab; a pixel that has a colour,
    however muted, counts for none of the greys.
    """
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    pixels = _lab(small).reshape(-1, 3)
    palette = _lab(np.array([list(PALETTE.values())], dtype=np.uint8))[0]
    distances = np.linalg.norm(pixels[:, None] - palette[None], axis=2)
    coloured = np.hypot(pixels[:, 1], pixels[:, 2]) >= CHROMA
    greys = np.array([name in ACHROMATIC for name in PALETTE])
    distances[coloured[:, None] & greys[None]] = np.inf
    shares = np.bincount(distances.argmin(axis=1), minlength=len(PALETTE)) / len(pixels)
    names = list(PALETTE)
    ranked = [int(index) for index in np.argsort(-shares, kind="stable")[:most]]
    kept = [index for place, index in enumerate(ranked) if place == 0 or shares[index] >= 0.2]
    return tuple(names[index] for index in kept)


def _lab(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
