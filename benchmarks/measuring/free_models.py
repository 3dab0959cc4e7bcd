"""Models that cost nothing.

Those of ``ENVIRONMENT`` give vectors as large as those of the embedded profile; those of
``SMALL`` give small ones, for what is measured to be all that an image costs.
"""

import zlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from models.describer import Describer, Description
from models.image_text import ImageEmbedding, ImageTextEncoder, Label, unit
from models.quality import WEIGHTS, Measures, Quality, QualityAssessor, TechnicalFlags
from models.text import TextEncoder

DIMENSION = 384
FEW = 16
CLASSES = 1000
MOST = 10
# As much as the default backend says.
ANY_QUALITY = Quality(
    50.0,
    dict.fromkeys(WEIGHTS, 0.5),
    TechnicalFlags(blurred=False, nearly_blank=False, screenshot=False, collage=False),
    Measures(edge_width=2.0, spread=200.0, flat=0.1, ruled_lines=0, axis_aligned=0.1, seam=0.1),
)

ENVIRONMENT = {
    "JUSTLENS_ENHANCER": "tests.fast_models:FastEnhancer",
    "JUSTLENS_IMAGE_TEXT_ENCODER": "measuring.free_models:FreeImageText",
    "JUSTLENS_TEXT_ENCODER": "measuring.free_models:FreeText",
    "JUSTLENS_TEXT_READER": "tests.fast_models:NoText",
    "JUSTLENS_PEOPLE_DETECTOR": "none",
    "JUSTLENS_QUALITY": "measuring.free_models:FreeQuality",
    "JUSTLENS_DESCRIBER": "tests.fast_models:ColourDescriber",
    # Alone in its process, an image would wait for others to share a forward pass with.
    "JUSTLENS_BATCH_SIZE": "1",
    # The pictures of these benchmarks are small.
    "JUSTLENS_TARGET_WIDTH": "128",
    "JUSTLENS_TARGET_HEIGHT": "96",
}

SMALL = {
    "JUSTLENS_ENHANCER": "tests.fast_models:PlainEnhancer",
    "JUSTLENS_IMAGE_TEXT_ENCODER": "measuring.free_models:FreeColours",
    "JUSTLENS_TEXT_ENCODER": "measuring.free_models:FreeLetters",
    "JUSTLENS_DESCRIBER": "measuring.free_models:FreeDescriber",
    "JUSTLENS_QUALITY": "measuring.free_models:FreeQuality",
    "JUSTLENS_TARGET_WIDTH": "128",
    "JUSTLENS_TARGET_HEIGHT": "96",
}


class FreeText(TextEncoder):
    """Vectors at random, always the same for a text."""

    name = "free"

    @property
    def dimension(self) -> int:
        return DIMENSION

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        rows = [_at_random(text, DIMENSION) for text in texts]
        return np.stack(rows) if rows else np.empty((0, DIMENSION), dtype=np.float32)

    def pieces(self, term: str) -> int:
        return 1

    def _load(self) -> Any:
        return None


class FreeImageText(ImageTextEncoder):
    """Pictures weigh ten of a thousand classes, as with ConSE, at random."""

    name = "free"
    space = "free-classes@1"

    def embed(self, prepared: Sequence[np.ndarray]) -> list[ImageEmbedding]:
        return [
            ImageEmbedding(_most(_at_random(image.tobytes(), CLASSES)), (Label("cup", 0.9),))
            for image in prepared
        ]

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return FreeText(weights=self.weights, threads=1)(texts)

    def classes(self) -> np.ndarray:
        return self._classes

    def background_names(self) -> list[str]:
        return [f"class {number}" for number in range(CLASSES)]

    @cached_property
    def _classes(self) -> np.ndarray:
        return self.encode_texts(self.background_names())

    def _load(self) -> Any:
        return None


class FreeQuality(QualityAssessor):
    """The same of every picture."""

    name = "free"

    def __call__(self, image: np.ndarray) -> Quality:
        return ANY_QUALITY

    def _load(self) -> Any:
        return None


class FreeLetters(FreeText):
    """One of a few vectors, always the same for a text."""

    name = "free-letters"

    @property
    def dimension(self) -> int:
        return FEW

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        return _A_FEW[[zlib.crc32(text.encode()) % len(_A_FEW) for text in texts]]


class FreeColours(ImageTextEncoder):
    """All pictures are green."""

    name = "free-colours"
    space = "free-letters@1"

    def embed(self, prepared: Sequence[np.ndarray]) -> list[ImageEmbedding]:
        return [ImageEmbedding(_A_FEW[0], (Label("green", 0.9),))] * len(prepared)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return FreeLetters(weights=self.weights, threads=1)(texts)

    def background_names(self) -> list[str]:
        return ["red", "green", "blue", "grey", "street", "table", "window", "garden"]

    def _load(self) -> Any:
        return None


class FreeDescriber(Describer):
    """Says that it is green."""

    name = "free"

    def __call__(self, image: np.ndarray, *, business: str, **known: Any) -> Description:
        sentence = f"A green picture at {business}"
        return Description(sentence, ("green",), sentence, None, "free")

    def _load(self) -> Any:
        return None


def _at_random(content: str | bytes, size: int) -> np.ndarray:
    seed = zlib.crc32(content.encode() if isinstance(content, str) else content)
    vector = np.random.default_rng(seed).standard_normal(size, dtype=np.float32)
    return unit(vector)


def _most(vector: np.ndarray) -> np.ndarray:
    return unit(np.where(vector >= np.sort(vector)[-MOST], vector, 0))


_A_FEW = np.stack([_at_random(str(number), FEW) for number in range(64)])
