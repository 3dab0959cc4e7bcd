"""The vector store: embeddings of texts and of images, each under the model that made it."""

import base64
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from pipeline.stores.portable import Portable, Row

ImageVectorKind = Literal["picture", "description"]

# Little-endian whatever the machine, so that it can be carried to another.
CARRIED = np.dtype("<f4")


class ImageVector(NamedTuple):
    """A row of ``image_embeddings``; the vector (D,) is float32."""

    model: str
    kind: ImageVectorKind
    docid: str
    product_id: int
    vector: np.ndarray


class VectorStore(Portable):
    """Milvus's part. Vectors are float32 of unit length, each under the model that made it.

    One model's vectors are never mixed with another's. All methods may raise
    ``StoreUnavailable``; one that is given a vector raises ``ValueError`` where it has no
    direction: a zero vector, or one with a number that is not finite.
    """

    # Those of texts are a cache: they are made again when they are asked for.
    parts = ("image_embeddings",)

    @abstractmethod
    def save_texts(self, model: str, vectors: Mapping[str, np.ndarray]) -> None:
        """``text_embeddings``: insert or replace the vectors (D,) of texts."""

    @abstractmethod
    def texts(self, model: str, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """The known ones among ``texts``, in one read."""

    @abstractmethod
    def save_image(
        self, model: str, kind: ImageVectorKind, docid: str, product_id: int, vector: np.ndarray
    ) -> None:
        """``image_embeddings``: insert or replace one vector (D,)."""

    @abstractmethod
    def images(
        self, model: str, kind: ImageVectorKind, docids: Sequence[str]
    ) -> dict[tuple[str, int], np.ndarray]:
        """All vectors of the businesses' images, by (docid, product_id), in one read."""

    @abstractmethod
    def images_of(
        self, model: str, kind: ImageVectorKind, keys: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], np.ndarray]:
        """The known ones of (docid, product_id) pairs, without those beside them."""

    @abstractmethod
    def search_images(
        self, model: str, kind: ImageVectorKind, query: np.ndarray, limit: int
    ) -> list[tuple[str, int, float]]:
        """Nearest images to ``query`` (D,): (docid, product_id, cosine), best first."""

    @abstractmethod
    def known_images(
        self, kind: ImageVectorKind, keys: Sequence[tuple[str, int]]
    ) -> set[tuple[str, int]]:
        """Those among (docid, product_id) pairs that have a vector of this kind by any model."""

    @abstractmethod
    def every_image(self) -> Iterator[tuple[str, int]]:
        """(docid, product_id) of all that has a vector, read in pages.

        An image comes once or more, at most once for each model and kind.
        """

    @abstractmethod
    def every_vector(self) -> Iterator[ImageVector]:
        """All vectors of images, read in pages."""

    @abstractmethod
    def add_vectors(self, vectors: Sequence[ImageVector]) -> None:
        """Add vectors of images; what is there by the same model for the same image stays."""

    @abstractmethod
    def delete_image(self, docid: str, product_id: int) -> None:
        """Drop all vectors of one image."""

    @abstractmethod
    def drop_model(self, model: str) -> None:
        """Drop all vectors of texts and images that a model has made; again is harmless."""

    def every_row(self, part: str) -> Iterator[Row]:
        for one in self.every_vector():
            packed = base64.b64encode(np.asarray(one.vector, CARRIED).tobytes()).decode()
            yield {**one._asdict(), "vector": packed}

    def add_rows(self, part: str, rows: Sequence[Row]) -> None:
        self.add_vectors(
            [
                ImageVector(
                    **{
                        **row,
                        "vector": np.frombuffer(base64.b64decode(row["vector"]), CARRIED).astype(
                            np.float32
                        ),
                    }
                )
                for row in rows
            ]
        )

    def prepare(self) -> None:
        """Make what the store needs on its server; safe to repeat, and to run beside others."""

    @abstractmethod
    def version(self) -> str:
        """What serves it, and in which version; for people."""

    @abstractmethod
    def check(self) -> None:
        """Raise ``StoreUnavailable`` unless the store answers."""

    @abstractmethod
    def close(self) -> None:
        """Give connections back."""
