"""Text embeddings, computed once and kept in the vector store."""

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.errors import ConfigurationError, StoreUnavailable
from pipeline.stores.vectors import VectorStore

log = logging.getLogger(__name__)

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
        later: runs a call in the background, as an executor's ``submit``: nobody waits until what
            is new is kept; none: it is kept before it is handed out.
    """

    def __init__(
        self,
        encode: Encode,
        model: str,
        vectors: VectorStore,
        classes: Callable[[], np.ndarray | None] = lambda: None,
        later: Callable[..., object] | None = None,
    ) -> None:
        self._encode = encode
        self.model = model
        self._vectors = vectors
        self.classes = classes
        self._later = later

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (N, D), float32, in the order of ``texts``; one read, one forward call."""
        if not texts:
            return self._encode([])
        known = self._vectors.texts(self.model, texts)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            fresh = dict(zip(missing, self._encode(missing), strict=True))
            if self._later is None:
                self._vectors.save_texts(self.model, fresh)
            else:
                self._later(self._keep, fresh)
            known = {**known, **fresh}
        return np.stack([known[text] for text in texts])

    def _keep(self, fresh: Mapping[str, np.ndarray]) -> None:
        try:
            self._vectors.save_texts(self.model, fresh)
        except (StoreUnavailable, ConfigurationError) as error:
            log.warning("%d texts are to be embedded again: %s", len(fresh), error)
        except Exception:
            # Nobody asks what became of a call in the background.
            log.exception("%d texts are to be embedded again", len(fresh))
