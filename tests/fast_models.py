"""Models that are fast and do what a test wants, chosen by settings like any operator's own.

They are real backends behind the real interfaces: only what they compute is simple.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.describer import Describer, Description
from models.enhancer import Enhancer
from models.image_text import ImageEmbedding, ImageTextEncoder, Label
from models.reader import ReadText, TextReader
from models.text import TextEncoder

DIMENSION = 16

# Colours, RGB, that make the enhancer do something: see `tests.pictures.plain`.
KILLS_THE_PROCESS = (255, 0, 0)
RAISES = (0, 0, 255)

ENVIRONMENT = {
    "JUSTLENS_ENHANCER": "tests.fast_models:FastEnhancer",
    "JUSTLENS_IMAGE_TEXT_ENCODER": "tests.fast_models:FastImageText",
    "JUSTLENS_TEXT_ENCODER": "tests.fast_models:FastText",
    "JUSTLENS_TEXT_READER": "tests.fast_models:NoText",
    "JUSTLENS_PEOPLE_DETECTOR": "none",
    "JUSTLENS_DESCRIBER": "tests.fast_models:ColourDescriber",
    # Servers with photos run on this machine.
    "JUSTLENS_FETCH_NETWORKS": "127.0.0.0/8",
}


def journal(line: str) -> None:
    """Append a line to the file that the test reads, in one write."""
    path = os.environ.get("TEST_JOURNAL")
    if path:
        with Path(path).open("a") as file:
            file.write(line + "\n")


class PlainEnhancer(Enhancer):
    """Repeats pixels."""

    name = "plain"
    scales = (2, 3, 4)
    halo = 0
    tile = 4096
    pixels_per_pass = 10**9

    def __call__(self, images: Sequence[np.ndarray], scale: int) -> list[np.ndarray]:
        nearest = cv2.INTER_NEAREST
        return [
            cv2.resize(image, None, fx=scale, fy=scale, interpolation=nearest) for image in images
        ]

    def _enlarge(self, passes: Iterable[np.ndarray], scale: int) -> Iterator[np.ndarray]:
        return (pixels.repeat(scale, axis=1).repeat(scale, axis=2) for pixels in passes)

    def _load(self) -> Any:
        return None


class FastEnhancer(PlainEnhancer):
    """Repeats pixels; ends the process at a red picture, raises at a blue one."""

    name = "fast"

    def __call__(self, images: Sequence[np.ndarray], scale: int) -> list[np.ndarray]:
        journal(f"pass {len(images)}")
        journal(f"process {os.getpid()}")
        time.sleep(float(os.environ.get("TEST_PASS_SECONDS", "0")))
        for image in images:
            colour = _mean(image)
            if _near(colour, KILLS_THE_PROCESS):
                journal("killed")
                os._exit(9)
            if _near(colour, RAISES):
                raise ValueError("this picture cannot be enhanced")
        return super().__call__(images, scale)


class FastText(TextEncoder):
    """Vectors by the letters of a text."""

    name = "letters"

    @property
    def dimension(self) -> int:
        return DIMENSION

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.full((len(texts), DIMENSION), 0.01, dtype=np.float32)
        for row, text in enumerate(texts):
            for letter in text.lower():
                vectors[row, ord(letter) % DIMENSION] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def pieces(self, term: str) -> int:
        return len(term)

    def _load(self) -> Any:
        return None


class FastImageText(ImageTextEncoder):
    """A picture is a text that says its colour."""

    name = "colour"
    space = "letters@1"

    def embed(self, prepared: Sequence[np.ndarray]) -> list[ImageEmbedding]:
        journal(f"encoded {len(prepared)}")
        time.sleep(float(os.environ.get("TEST_ENCODING_SECONDS", "0")))
        names = [colour_name(image) for image in prepared]
        vectors = self.encode_texts(names)
        return [
            ImageEmbedding(vector, (Label(name, 0.9),))
            for name, vector in zip(names, vectors, strict=True)
        ]

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return FastText(weights=self.weights, threads=1)(texts)

    def background_names(self) -> list[str]:
        return ["red", "green", "blue", "grey", "street", "table", "window", "garden"]

    def _load(self) -> Any:
        return None


class NoText(TextReader):
    """Reads nothing."""

    name = "no-text"

    def __call__(self, image: np.ndarray) -> ReadText:
        return ReadText()

    def _load(self) -> Any:
        return None


class ColourDescriber(Describer):
    """Says the colour; raises at a green picture."""

    name = "colours"

    def __call__(
        self,
        image: np.ndarray,
        *,
        labels: Sequence[Label],
        text: ReadText,
        business: str,
        categories: Sequence[str],
        prompt: str = "",
    ) -> Description:
        name = colour_name(image)
        if name == "green" and os.environ.get("TEST_DESCRIBER_RAISES"):
            raise ValueError("green cannot be described")
        sentence = f"A {name} picture at {business}"
        return Description(sentence, (name,), sentence, None, "colours")

    def _load(self) -> Any:
        return None


def colour_name(image: np.ndarray) -> str:
    """The strongest channel of the picture."""
    means = _mean(image)
    if means.max() - means.min() < 20:
        return "grey"
    return ("red", "green", "blue")[int(means.argmax())]


def _mean(image: np.ndarray) -> np.ndarray:
    # Many times as fast as NumPy's: what these models cost counts where graphs are measured.
    return np.asarray(cv2.mean(np.ascontiguousarray(image))[:3])


def _near(colour: np.ndarray, wanted: tuple[int, int, int]) -> bool:
    return bool(np.abs(colour - wanted).max() < 20)
