"""What all vision-language models have in common, wherever they are served."""

import logging
from abc import abstractmethod
from collections.abc import Sequence

import cv2
import numpy as np

from models import prompts
from models.answers import read
from models.describer import Describer, Description
from models.errors import UnreadableAnswer, UnsuitableInput
from models.image_text import Label
from models.reader import ReadText

log = logging.getLogger(__name__)

ASKED_AGAIN = 2
"""How often a model whose answer cannot be read is asked once more."""

JPEG_QUALITY = 90


class VisionDescriber(Describer):
    """Has a vision-language model look at a picture and answer in JSON.

    A subclass says how large a picture its model sees, and how the model is asked.
    """

    side: int
    """Longest side of what the model sees, pixels."""

    @property
    @abstractmethod
    def model(self) -> str:
        """Name of the vision-language model."""

    @property
    def identity(self) -> str:
        return f"{self.name}/{self.model}@{self.version}"

    def asked(self, prompt: str) -> str:
        return prompts.named(prompt or prompts.DEFAULT).identity

    def reduced(self, image: np.ndarray) -> np.ndarray:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise UnsuitableInput(f"not an RGB uint8 image: {image.dtype} {image.shape}")
        height, width = image.shape[:2]
        scale = self.side / max(height, width)
        if scale >= 1:
            return image
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

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
        """As `Describer` says; what labels and text say, the model sees for itself.

        Raises `UnknownPrompt`; `UnreadableAnswer` when no answer could be read; `DescriberRefused`
        and `DescriberUnavailable`.
        """
        wanted = prompts.named(prompt or prompts.DEFAULT)
        picture = jpeg(self._framed(self.reduced(image)))
        question = wanted.question(categories)
        wrong: list[str] = []
        while len(wrong) <= ASKED_AGAIN:
            # At temperature 0 the same question would have the same answer.
            reminder = f"\nYour last answer could not be read: {wrong[-1]}" if wrong else ""
            try:
                answer = read(self._ask(picture, question + reminder, wanted), wanted.answer)
            except UnreadableAnswer as error:
                log.info("an answer of %s cannot be read: %s", self.model, error)
                wrong.append(str(error))
            else:
                return wanted.description(answer, categories, self.model)
        raise UnreadableAnswer(
            f"{self.model} answered {len(wrong)} times, none could be read; the last: {wrong[-1]}"
        )

    def _framed(self, image: np.ndarray) -> np.ndarray:
        """The image as it is to be sent, where the model expects a frame around it."""
        return image

    @abstractmethod
    def _ask(self, picture: bytes, question: str, prompt: prompts.Prompt) -> str:
        """The model's answer to a question about a picture, which is a JPEG.

        Raises `DescriberRefused` and `DescriberUnavailable`.
        """


def jpeg(image: np.ndarray) -> bytes:
    """An RGB uint8 image of shape (height, width, 3) as a JPEG file."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return encoded.tobytes()
