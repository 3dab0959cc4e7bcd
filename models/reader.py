"""Text in the picture: signs, menus, captions."""

import math
import threading
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.base import Model
from models.errors import UnsuitableInput


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line that was read.

    `confidence` is 0..1; `area` is the line's share of the picture's area, 0..1. `height` is where
    its middle lies, 0 at the picture's top and 1 at its bottom. `slope` is in degrees: 0 is level,
    positive falls from left to right.
    """

    text: str
    confidence: float
    area: float
    height: float = 0.5
    slope: float = 0.0


@dataclass(frozen=True, slots=True)
class ReadText:
    """The lines of a picture, from top to bottom and from left to right."""

    lines: tuple[TextLine, ...] = ()

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)

    @property
    def coverage(self) -> float:
        """Share of the picture's area that text covers, 0..1."""
        return min(1.0, sum(line.area for line in self.lines))


class TextReader(Model):
    """Reads the text in a picture. May be called from several threads."""

    @abstractmethod
    def __call__(self, image: np.ndarray) -> ReadText:
        """Reads an RGB uint8 image of shape (height, width, 3). Raises `UnsuitableInput`."""


class RapidOCR(TextReader):
    """PP-OCRv4 (PaddleOCR's mobile detector and recogniser) as carried by rapidocr-onnxruntime.

    Reads Latin and Chinese script. Detection is DBNet (Liao et al. 2020, arXiv:1911.08947).

    Parameters
    ----------
    longest_side:
        Larger pictures are scaled down to this many px before reading.
    confidence:
        Lines that the recogniser is less sure of are left out.
    """

    name = "rapidocr-ppocrv4"
    version = "2"

    def __init__(
        self,
        *,
        weights: Path,
        threads: int,
        longest_side: int = 960,
        confidence: float = 0.6,
    ) -> None:
        super().__init__(weights=weights, threads=threads)
        self._longest_side = longest_side
        self._confidence = confidence
        # The package keeps the state of a call on its objects.
        self._reading = threading.Lock()

    def __call__(self, image: np.ndarray) -> ReadText:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise UnsuitableInput(f"not an RGB uint8 image: {image.dtype} {image.shape}")
        engine = self.load()
        bounded = self._bounded(image)
        with self._reading:
            found, _ = engine(cv2.cvtColor(bounded, cv2.COLOR_RGB2BGR), use_cls=False)
        lines = []
        for box, text, confidence in found or []:
            text = " ".join(str(text).split())
            if text and float(confidence) >= self._confidence:
                corners = np.asarray(box, dtype=np.float32)
                lines.append(_line(text, float(confidence), corners, bounded.shape[:2]))
        return ReadText(tuple(lines))

    def _bounded(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        scale = self._longest_side / max(height, width)
        if scale >= 1:
            return image
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    def _load(self) -> Any:
        import rapidocr_onnxruntime

        return rapidocr_onnxruntime.RapidOCR(
            intra_op_num_threads=self.threads,
            inter_op_num_threads=1,
            # The package's own default enlarges every photo until its shorter side has 736 px,
            # which costs several times the time and finds little more.
            det_limit_type="max",
            det_limit_side_len=self._longest_side,
            text_score=self._confidence,
        )


def _line(text: str, confidence: float, corners: np.ndarray, size: tuple[int, ...]) -> TextLine:
    """A line from its corners (x, y), the upper left one first and then clockwise."""
    height, width = size
    across, down = corners[1] - corners[0]
    return TextLine(
        text=text,
        confidence=confidence,
        area=min(1.0, float(cv2.contourArea(corners)) / (height * width)),
        height=float(corners[:, 1].mean()) / height,
        slope=math.degrees(math.atan2(down, across)),
    )
