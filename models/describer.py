"""What is on a picture, in words."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from models import colours
from models.base import Model
from models.class_words import PLACES, everyday, with_article
from models.errors import UnsuitableInput
from models.image_text import Label
from models.reader import ReadText

ALT_TEXT_LENGTH = 125
"""Characters after which common screen readers cut an alt text."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a describer says about a picture.

    Texts and tags are empty where the prompt does not ask for them. `category_match` is None where
    the describer cannot know or was not asked. `made_from` says what it went by: "tags" for labels
    and text read, or the name of the vision-language model that looked.
    """

    description: str
    tags: tuple[str, ...]
    alt_text: str
    category_match: bool | None
    made_from: str


class Describer(Model):
    """Describes one picture."""

    def asked(self, prompt: str) -> str:
        """Name and version of a prompt, as they go into idempotency keys.

        Empty for a describer that is not asked anything: it says the same under every prompt.
        Raises `UnknownPrompt`.
        """
        return ""

    def reduced(self, image: np.ndarray) -> np.ndarray:
        """What the describer needs of an RGB uint8 image of shape (height, width, 3).

        Whoever has to wait for a server need not hold the whole photo meanwhile.
        """
        return image

    @abstractmethod
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
        """Describes an RGB uint8 image of shape (height, width, 3).

        `labels` and `text` are what other models saw and read; `business` and `categories` are
        whose picture it is said to be, which a describer may check but must not repeat unseen.
        `prompt` names what is asked of a vision-language model (see `models.prompts`); empty, it
        is asked for all that a directory needs.
        """


SURE = 0.5
"""Probability from which a label is said as a fact."""
LIKELY = 0.2
"""Probability from which a label is said with a hedge; below, the picture's subject is unknown."""
ALSO = 0.12
"""Probability from which a further label is worth a mention and a tag."""

READ_CONFIDENCE = 0.8
QUOTE_LENGTH = 60


class TagDescriber(Describer):
    """Puts labels, text read, colours and layout into a sentence. Needs no GPU and no download.

    It cannot know whether a picture fits a category (`category_match` is None), and it uses neither
    the business's name nor its categories: what it says, it has seen. The same picture is always
    described in the same words.
    """

    name = "tag-describer"

    def __init__(self, *, weights: Path | None = None, threads: int = 1) -> None:
        super().__init__(weights=weights or Path(), threads=threads)

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
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise UnsuitableInput(f"not an RGB uint8 image: {image.dtype} {image.shape}")
        seen = _named(labels)
        tones = colours.dominant(image)
        quote = _quote(text)
        subject = _subject(seen)
        layout = _layout(image, seen)
        return Description(
            description=_sentences(subject, layout, tones, quote),
            tags=tuple(dict.fromkeys([*(word for word, _ in seen[:5]), *tones])),
            alt_text=_alt_text(subject, layout, tones, quote, image),
            category_match=None,
            made_from="tags",
        )

    def _load(self) -> None:
        return None


def _named(labels: Sequence[Label]) -> list[tuple[str, float]]:
    """Everyday words with their probabilities, the most probable first, synonyms added up."""
    summed: dict[str, float] = {}
    for label in labels:
        word = everyday(label.name)
        summed[word] = summed.get(word, 0.0) + label.probability
    ranked = sorted(summed.items(), key=lambda item: (-item[1], item[0]))
    return [(word, probability) for word, probability in ranked if probability >= ALSO]


@dataclass(frozen=True, slots=True)
class _Subject:
    phrase: str
    sure: bool


def _subject(seen: Sequence[tuple[str, float]]) -> _Subject | None:
    """What the picture shows, as far as that can be said; the second guess only with a hedge."""
    if not seen or seen[0][1] < LIKELY:
        return None
    phrases = [with_article(word) for word, _ in seen[:2]]
    if seen[0][1] >= SURE:
        return _Subject(phrases[0], sure=True)
    return _Subject(" or ".join(phrases), sure=False)


def _sentences(subject: _Subject | None, layout: str, tones: Sequence[str], quote: str) -> str:
    in_tones = f"in mostly {' and '.join(tones)} tones"
    if subject is None:
        first = f"It is not clear what the photo shows; it is {in_tones}."
    else:
        verb = "shows" if subject.sure else "appears to show"
        in_view = {"close-up": " close up", "wide view": " in a wide view"}.get(layout, "")
        first = f"The photo {verb} {subject.phrase}{in_view}, {in_tones}."
    return f"{first} The text in it reads “{quote}”." if quote else first


def _alt_text(
    subject: _Subject | None, layout: str, tones: Sequence[str], quote: str, image: np.ndarray
) -> str:
    if subject is None:
        height, width = image.shape[:2]
        form = {True: "portrait", False: "landscape"}[height > width] if height != width else ""
        start = f"{form} view".strip()
    else:
        start = f"{layout} of {subject.phrase}" if layout else subject.phrase
        start = start if subject.sure else f"probably {start}"
    start = f"{start[0].upper()}{start[1:]}, in {' and '.join(tones)} tones"
    with_quote = f"{start}, with the text “{quote}”" if quote else start
    # A quotation that is cut off says something else: it is there whole or not at all.
    return with_quote if len(with_quote) <= ALT_TEXT_LENGTH else start[:ALT_TEXT_LENGTH].rstrip()


def _quote(text: ReadText) -> str:
    """The lines that were read surely enough to be repeated, as many whole ones as fit."""
    quote = ""
    for line in text.lines:
        said = line.text.replace("“", "").replace("”", "").replace('"', "")
        words = " ".join(said.split())
        readable = sum(sign.isalnum() for sign in words) >= 3
        # Code, as on a screenshot of some, is no text to be read out.
        is_code = "<" in words or ("&" in words and ";" in words)
        if line.confidence < READ_CONFIDENCE or not readable or is_code:
            continue
        longer = f"{quote} {words}".strip()
        if len(longer) <= QUOTE_LENGTH:
            quote = longer
    return quote


def _layout(image: np.ndarray, seen: Sequence[tuple[str, float]]) -> str:
    """ "close-up" or "wide view" where the picture's detail says so, else nothing.

    A close-up has its detail in the middle and a plain or blurred surrounding; a wide view of a
    place has as much at its edges.
    """
    side = 128
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    detail = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    edge = side // 8
    inner = detail[edge:-edge, edge:-edge]
    outer_mean = (float(detail.sum()) - float(inner.sum())) / (detail.size - inner.size)
    inner_mean = float(inner.mean())
    is_place = bool(seen) and seen[0][0] in PLACES
    if is_place:
        return "wide view" if outer_mean > 0.8 * inner_mean else ""
    return "close-up" if outer_mean < 0.25 * inner_mean else ""
