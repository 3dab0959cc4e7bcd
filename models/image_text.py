"""Pictures and texts into one vector space, so that a picture can be compared with a category."""

import json
import os
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from models import artefacts
from models.base import Model
from models.errors import UnsuitableInput
from models.onnx_session import open_session
from models.text import MiniLM, TextEncoder

if TYPE_CHECKING:
    import onnxruntime


UNSAFE = 0.5
"""From here on a picture is taken to be not safe for work."""


@dataclass(frozen=True, slots=True)
class Label:
    """A class of the classifier and its probability, 0..1."""

    name: str
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbedding:
    """A picture's unit vector, float32 of shape (dimension,), and its most probable classes.

    An encoder without classes of its own gives no labels: any names can be its classes.
    """

    vector: np.ndarray
    labels: tuple[Label, ...]


class ImageTextEncoder(Model):
    """Turns pictures and texts into unit vectors of one space.

    Parameters
    ----------
    text_encoder:
        The one that the process has already. A backend that makes its text vectors with a
        sentence encoder uses it instead of loading a second copy; the others leave it alone.
    """

    def __init__(
        self, *, weights: Path, threads: int, text_encoder: TextEncoder | None = None
    ) -> None:
        super().__init__(weights=weights, threads=threads)

    @property
    @abstractmethod
    def space(self) -> str:
        """Identity of the vector space. Vectors of different spaces are never compared."""

    @abstractmethod
    def __call__(self, images: Sequence[np.ndarray]) -> list[ImageEmbedding]:
        """Embeds RGB uint8 images of shape (height, width, 3), any sizes together.

        Raises `UnsuitableInput`.
        """

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 of shape (len(texts), dimension), each row of length 1."""

    def encode_names(self, names: Sequence[str]) -> np.ndarray:
        """What pictures of things are near to that are called so, shaped like `encode_texts`.

        A category or a query is a name; a sentence that describes a picture is a text.
        """
        return self.encode_texts(names)

    @abstractmethod
    def background_names(self) -> list[str]:
        """Names of things in the world, to set a picture's cosine with a category against."""

    def nsfw(self, vector: np.ndarray) -> float | None:
        """How sure it is that the picture of a vector is not safe for work, 0..1; None: it cannot
        know."""
        return None


class _Loaded(NamedTuple):
    session: "onnxruntime.InferenceSession"
    names: list[str]
    indices: dict[str, int]
    vectors: np.ndarray


class ConSE(ImageTextEncoder):
    """EfficientNet-Lite0's probabilities turned into a vector of a sentence encoder's space.

    The vector is the probability-weighted sum of the sentence embeddings of the most probable
    classes, scaled to length 1: ConSE, Norouzi et al. 2014 (arXiv:1312.5650). The classifier is the
    Lite variant of EfficientNet, Tan and Le 2019 (arXiv:1905.11946), trained on ImageNet-1k.

    Parameters
    ----------
    text_encoder:
        Encodes class names and texts; MiniLM of its own if none is given.
    classes:
        How many of the most probable classes make the vector (T in the paper).
    """

    name = "efficientnet-lite0-conse"
    version = "1"
    images_per_pass = 8

    def __init__(
        self,
        *,
        weights: Path,
        threads: int,
        text_encoder: TextEncoder | None = None,
        classes: int = 10,
    ) -> None:
        super().__init__(weights=weights, threads=threads)
        self._owns_text_encoder = text_encoder is None
        self._text_encoder = text_encoder or MiniLM(weights=weights, threads=threads)
        self._classes = classes

    @property
    def identity(self) -> str:
        return f"{self.name}@{self.version}.{artefacts.VERSIONS['efficientnet-lite0']}"

    @property
    def space(self) -> str:
        """The text encoder's: picture vectors of different text encoders do not mix."""
        return f"{self.identity}+{self._text_encoder.identity}"

    def __call__(self, images: Sequence[np.ndarray]) -> list[ImageEmbedding]:
        loaded: _Loaded = self.load()
        embeddings: list[ImageEmbedding] = []
        for start in range(0, len(images), self.images_per_pass):
            pixels = np.stack(
                [prepare(image) for image in images[start : start + self.images_per_pass]]
            )
            (batch,) = loaded.session.run(["probabilities"], {"pixels": pixels})
            embeddings += [self._embed(loaded, probabilities) for probabilities in batch]
        return embeddings

    def vector_from_labels(self, labels: Sequence[Label]) -> np.ndarray:
        """The vector that these labels make, float32 of shape (dimension,) and of length 1.

        With the labels stored, a new text encoder needs this product and not the pictures. Raises
        `UnsuitableInput` for a label that is not one of the classes, or for no labels.
        """
        loaded: _Loaded = self.load()
        try:
            indices = [loaded.indices[label.name] for label in labels]
        except KeyError as error:
            raise UnsuitableInput(f"{self.name} has no class {error.args[0]!r}") from error
        weights = np.array([label.probability for label in labels], dtype=np.float32)
        return _weighted(loaded.vectors[indices], weights)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._text_encoder(texts)

    def background_names(self) -> list[str]:
        """The first name of every class, each once, in the classifier's order."""
        return list(dict.fromkeys(name.partition(",")[0] for name in self.load().names))

    def unload(self) -> None:
        super().unload()
        if self._owns_text_encoder:
            self._text_encoder.unload()

    def _embed(self, loaded: _Loaded, probabilities: np.ndarray) -> ImageEmbedding:
        top = np.argsort(-probabilities, kind="stable")[: self._classes]
        return ImageEmbedding(
            vector=_weighted(loaded.vectors[top], probabilities[top]),
            labels=tuple(Label(loaded.names[index], float(probabilities[index])) for index in top),
        )

    def _load(self) -> _Loaded:
        folder = artefacts.ensure(self.weights, "efficientnet-lite0")
        names = [item["name"] for item in json.loads((folder / "classes.json").read_text())]
        return _Loaded(
            session=open_session(folder / "model.onnx", self.threads),
            names=names,
            indices={name: index for index, name in enumerate(names)},
            vectors=class_vectors(folder, self._text_encoder),
        )


SIDE = 224
"""Side in px of the picture that the classifier sees."""


def prepare(image: np.ndarray) -> np.ndarray:
    """A picture as the classifier takes it: float32 of shape (3, 224, 224), values -1..1.

    Its largest central square: on labelled shop-like photos that ranked a little better than the
    usual margin around the square, the whole picture squashed, and the mean of two of them.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise UnsuitableInput(f"not an RGB uint8 image: {image.dtype} {image.shape}")
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = cv2.resize(
        image[top : top + side, left : left + side],
        (SIDE, SIDE),
        interpolation=cv2.INTER_AREA if side > SIDE else cv2.INTER_CUBIC,
    )
    return np.ascontiguousarray(square.transpose(2, 0, 1), dtype=np.float32) / 127.5 - 1


def class_vectors(folder: Path, encoder: TextEncoder) -> np.ndarray:
    """Sentence embeddings of the classes, each as "name: definition", of shape (1000, dimension).

    A class with its definition is ranked better than its bare name. They are kept beside the
    classifier, one file per text encoder.
    """
    safe = "".join(sign if sign.isalnum() or sign in "-_.@" else "_" for sign in encoder.identity)
    kept = folder / f"classes-{safe}.npy"
    if kept.exists():
        return np.load(kept)
    classes = json.loads((folder / "classes.json").read_text())
    vectors = encoder([f"{item['name']}: {item['definition']}" for item in classes])
    if os.access(folder, os.W_OK):
        handle, started = tempfile.mkstemp(dir=folder, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            np.save(file, vectors)
        os.chmod(started, 0o644)
        os.replace(started, kept)
    return vectors


def _weighted(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = weights @ vectors
    length = float(np.linalg.norm(total))
    if length == 0:
        raise UnsuitableInput("labels without any probability make no vector")
    return (total / length).astype(np.float32)
