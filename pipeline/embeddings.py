"""Text embeddings, computed once and kept in the vector store."""

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.stores.vectors import VectorStore

Encode = Callable[[Sequence[str]], np.ndarray]
"""Texts to unit vectors (N, D), float32."""


class TextEmbeddings:
    """Embeds texts through ``text_embeddings``: what is stored is not computed again.

    Args:
        encode: the model.
        model: its identity, under which the vectors are stored.
        vectors: the store.
        classes: unit vectors (K, D) of the classes that the vectors of pictures weigh; none where
            pictures lie among the texts.
    """

    def __init__(
        self,
        encode: Encode,
        model: str,
        vectors: VectorStore,
        classes: Callable[[], np.ndarray | None] = lambda: None,
    ) -> None:
        self._encode = encode
        self.model = model
        self._vectors = vectors
        self.classes = classes

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (N, D), float32, in the order of ``texts``; one read, one forward call."""
        if not texts:
            return self._encode([])
        known = self._vectors.texts(self.model, texts)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            fresh = dict(zip(missing, self._encode(missing), strict=True))
            self._vectors.save_texts(self.model, fresh)
            known = {**known, **fresh}
        return np.stack([known[text] for text in texts])
