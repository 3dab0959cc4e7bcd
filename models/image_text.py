"""Pictures and texts into one vector space, so that a picture can be compared with a category."""

import json
import os
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import cv2
import numpy as np

from models import artefacts
from models.base import Model
from models.class_words import everyday
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
    """A picture's unit vector, float32, and its most probable classes.

    The vector lies among those of texts, (dimension,), or weighs the classes of the encoder, (K,):
    see `ImageTextEncoder.classes`. An encoder without classes of its own gives no labels: any names
    can be its classes.
    """

    vector: np.ndarray
    labels: tuple[Label, ...]


class ImageTextEncoder(Model):
    """Turns pictures and texts into unit vectors that can be compared.

    Parameters
    ----------
    text_encoder:
        The one that the process has already. A backend that makes its text vectors with a
        sentence encoder uses it instead of loading a second copy; the others leave it alone.
    """

    templates: ClassVar[tuple[str, ...]] = ("{}",)
    """A name's vector is the mean of what these make of it: the prompt ensembles of CLIP, Radford
    et al. 2021 (arXiv:2103.00020), section 3.1.4. Whoever changes them raises `version`."""

    def __init__(
        self, *, weights: Path, threads: int, text_encoder: TextEncoder | None = None
    ) -> None:
        super().__init__(weights=weights, threads=threads)

    @property
    @abstractmethod
    def space(self) -> str:
        """Identity of the vector space. Vectors of different spaces are never compared."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[ImageEmbedding]:
        """Embeds RGB uint8 images of shape (height, width, 3), any sizes together.

        Raises `UnsuitableInput`.
        """
        return self.embed([self.prepare(image) for image in images])

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """What `embed` takes of an image: the part of the work that no two images share.

        Threads do it side by side, each for its own image, while others' are embedded. Raises
        `UnsuitableInput`.
        """
        return image

    @abstractmethod
    def embed(self, prepared: Sequence[np.ndarray]) -> list[ImageEmbedding]:
        """Embeds what `prepare` has made of images, together in as few forward passes as may be."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 of shape (len(texts), dimension), each row of length 1."""

    def encode_names(self, names: Sequence[str]) -> np.ndarray:
        """What pictures of things are near to that are called so, shaped like `encode_texts`.

        A category or a query is a name; a sentence that describes a picture is a text.
        """
        prompts = [template.format(name) for name in names for template in self.templates]
        vectors = self.encode_texts(prompts)
        ensembles = vectors.reshape(len(names), len(self.templates), vectors.shape[1])
        return unit(ensembles.mean(axis=1))

    def classes(self) -> np.ndarray | None:
        """Unit vectors of the classes that a picture's vector weighs, float32 (K, dimension).

        None: a picture's vector is itself one among those of texts.
        """
        return None

    def among_texts(self, picture: np.ndarray) -> np.ndarray:
        """The unit vector (dimension,) among those of texts that stands for a picture's vector."""
        classes = self.classes()
        return picture if classes is None else unit(picture @ classes)

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


class ConSE(ImageTextEncoder):
    """EfficientNet-Lite0's probabilities, and its classes in a sentence encoder's space.

    After ConSE, Norouzi et al. 2014 (arXiv:1312.5650): what a classifier has never been taught is
    reached through what its classes mean. There the embeddings of the classes are mixed and then
    compared; here a picture stays a mixture of classes, so that each can be compared by itself. The
    classifier is the Lite variant of EfficientNet, Tan and Le 2019 (arXiv:1905.11946), trained on
    ImageNet-1k.

    Parameters
    ----------
    text_encoder:
        Encodes classes and texts; MiniLM of its own if none is given.
    most:
        How many of the most probable classes make the vector (T in the paper).
    """

    name = "efficientnet-lite0-conse"
    version = "2"
    templates = ("{}", "a photo of things sold at {}", "you can find this at {}")
    images_per_pass = 8

    def __init__(
        self,
        *,
        weights: Path,
        threads: int,
        text_encoder: TextEncoder | None = None,
        most: int = 10,
    ) -> None:
        super().__init__(weights=weights, threads=threads)
        self._owns_text_encoder = text_encoder is None
        self._text_encoder = text_encoder or MiniLM(weights=weights, threads=threads)
        self._most = most
        self._classes: np.ndarray | None = None

    @property
    def identity(self) -> str:
        return f"{self.name}@{self.version}.{artefacts.VERSIONS['efficientnet-lite0']}"

    @property
    def space(self) -> str:
        """The text encoder's: vectors of different text encoders do not mix."""
        return f"{self.identity}+{self._text_encoder.identity}"

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return prepare(image)

    def embed(self, prepared: Sequence[np.ndarray]) -> list[ImageEmbedding]:
        loaded: _Loaded = self.load()
        embeddings: list[ImageEmbedding] = []
        for start in range(0, len(prepared), self.images_per_pass):
            pixels = np.stack(prepared[start : start + self.images_per_pass])
            (batch,) = loaded.session.run(["probabilities"], {"pixels": pixels})
            embeddings += [self._embed(loaded, probabilities) for probabilities in batch]
        return embeddings

    def vector_from_labels(self, labels: Sequence[Label]) -> np.ndarray:
        """The vector that these labels make: their probabilities, brought to length 1.

        It does not depend on the text encoder: a new one needs neither labels nor pictures. Raises
        `UnsuitableInput` for a label that is not one of the classes, or for no labels.
        """
        loaded: _Loaded = self.load()
        vector = np.zeros(len(loaded.names), dtype=np.float32)
        for label in labels:
            if label.name not in loaded.indices:
                raise UnsuitableInput(f"{self.name} has no class {label.name!r}")
            vector[loaded.indices[label.name]] = label.probability
        if not vector.any():
            raise UnsuitableInput("labels without any probability make no vector")
        return unit(vector)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._text_encoder(texts)

    def classes(self) -> np.ndarray:
        """(1000, dimension); the classifier itself is not loaded for it."""
        if self._classes is None:
            folder = artefacts.ensure(self.weights, "efficientnet-lite0")
            self._classes = class_vectors(folder, self._text_encoder)
        return self._classes

    def background_names(self) -> list[str]:
        """The first name of every class, each once, in the classifier's order."""
        return list(dict.fromkeys(name.partition(",")[0] for name in self.load().names))

    def unload(self) -> None:
        super().unload()
        self._classes = None
        if self._owns_text_encoder:
            self._text_encoder.unload()

    def _embed(self, loaded: _Loaded, probabilities: np.ndarray) -> ImageEmbedding:
        top = np.argsort(-probabilities, kind="stable")[: self._most]
        labels = tuple(Label(loaded.names[index], float(probabilities[index])) for index in top)
        return ImageEmbedding(self.vector_from_labels(labels), labels)

    def _load(self) -> _Loaded:
        folder = artefacts.ensure(self.weights, "efficientnet-lite0")
        names = [item["name"] for item in json.loads((folder / "classes.json").read_text())]
        return _Loaded(
            session=open_session(folder / "model.onnx", self.threads),
            names=names,
            indices={name: index for index, name in enumerate(names)},
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
    """What each class means: unit vectors of shape (1000, dimension).

    Half of it is what the class is called and how it is defined, the other half the same of the ten
    classes that the classifier itself sees nearest to it: the words "horizontal bar" alone do not
    say that it is found where barbells and balance beams are. They are kept beside the classifier,
    one file per text encoder.
    """
    key = f"{ConSE.version}-{encoder.identity}"
    safe = "".join(sign if sign.isalnum() or sign in "-_.@" else "_" for sign in key)
    kept = folder / f"classes-{safe}.npy"
    if kept.exists():
        return np.load(kept)
    classes = json.loads((folder / "classes.json").read_text())
    called = [everyday(item["name"]) for item in classes]
    defined = [f"{item['name']}: {item['definition']}" for item in classes]
    own = unit(encoder([*called, *defined]).reshape(2, len(classes), -1).sum(axis=0))
    around = own[[item["neighbours"] for item in classes]].mean(axis=1)
    vectors = unit(own + unit(around))
    if os.access(folder, os.W_OK):
        handle, started = tempfile.mkstemp(dir=folder, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            np.save(file, vectors)
        os.chmod(started, 0o644)
        os.replace(started, kept)
    return vectors


def unit(vectors: np.ndarray) -> np.ndarray:
    """The same directions, float32, each row of length 1."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
