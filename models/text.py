"""Sentences into vectors."""

import json
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from models import artefacts
from models.base import Model
from models.onnx_session import open_session

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers


class TextEncoder(Model):
    """Turns texts into unit vectors whose dot product is their cosine similarity."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Length of the vectors."""

    @abstractmethod
    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 of shape (len(texts), dimension), each row of length 1."""

    @abstractmethod
    def pieces(self, term: str) -> int:
        """Into how many pieces the tokenizer breaks a term; 1 for a word it knows."""


class _Loaded(NamedTuple):
    session: "onnxruntime.InferenceSession"
    tokenizer: "tokenizers.Tokenizer"
    counting: "tokenizers.Tokenizer"
    dimension: int
    pool: ThreadPoolExecutor


class SentenceOnnx(TextEncoder):
    """A text encoder exported by `models.export.sentence_encoder` or `static_export`.

    Its activations are quantised with one scale for each tensor. Every text is a forward pass of
    its own, so that its vector is the same whatever it is encoded with: vectors are kept, and must
    equal those that are made anew. Several texts run side by side, one thread each.

    Parameters
    ----------
    folder:
        Holds `model.onnx` (pooling and normalising inside), `tokenizer.json` and `encoder.json`.
    identity:
        Name and version of what is in the folder, for example `champion@7`.
    """

    name = "onnx"

    def __init__(
        self, *, weights: Path, threads: int, folder: Path | str, identity: str | None = None
    ) -> None:
        super().__init__(weights=weights, threads=threads)
        self._folder: Path | None = Path(folder)
        self._identity = identity or f"{Path(folder).name}@{self.version}"

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def dimension(self) -> int:
        return int(self.load().dimension)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        if isinstance(texts, str):
            texts = [texts]
        loaded: _Loaded = self.load()

        def encode(text: str) -> np.ndarray:
            input_ids = np.array([loaded.tokenizer.encode(text).ids], dtype=np.int64)
            return loaded.session.run(["sentence_embedding"], {"input_ids": input_ids})[0][0]

        # A query, the most frequent call, is spared the way through the pool.
        vectors = [encode(texts[0])] if len(texts) == 1 else list(loaded.pool.map(encode, texts))
        return np.array(vectors, dtype=np.float32).reshape(len(texts), loaded.dimension)

    def pieces(self, term: str) -> int:
        loaded: _Loaded = self.load()
        return len(loaded.counting.encode(term, add_special_tokens=False).ids)

    def _load(self) -> _Loaded:
        import tokenizers

        folder = self._find()
        described: dict[str, Any] = json.loads((folder / "encoder.json").read_text())
        source = str(folder / "tokenizer.json")
        # tokenizer.json carries the padding and truncation of whoever saved it.
        tokenizer = tokenizers.Tokenizer.from_file(source)
        tokenizer.no_padding()
        tokenizer.enable_truncation(int(described["max_tokens"]))
        counting = tokenizers.Tokenizer.from_file(source)
        counting.no_padding()
        counting.no_truncation()
        return _Loaded(
            session=open_session(folder / "model.onnx", threads=1),
            tokenizer=tokenizer,
            counting=counting,
            dimension=int(described["dimension"]),
            pool=ThreadPoolExecutor(self.threads, thread_name_prefix="encoder"),
        )

    def _find(self) -> Path:
        assert self._folder is not None
        return self._folder


class PackagedEncoder(SentenceOnnx):
    """An encoder whose artefact `models.export` makes from the installed packages."""

    artefact: ClassVar[str]

    def __init__(self, *, weights: Path, threads: int) -> None:
        super().__init__(
            weights=weights,
            threads=threads,
            folder=artefacts.folder(weights, self.artefact),
            identity=f"{self.name}@{artefacts.VERSIONS[self.artefact]}",
        )

    def _find(self) -> Path:
        return artefacts.ensure(self.weights, self.artefact)


class MiniLM(PackagedEncoder):
    """all-MiniLM-L6-v2: 384 dimensions, up to 256 tokens.

    Wang et al. 2020, MiniLM (arXiv:2002.10957); Reimers and Gurevych 2019, Sentence-BERT
    (arXiv:1908.10084).
    """

    name = "all-minilm-l6-v2"
    artefact = "minilm"


class Static(PackagedEncoder):
    """A vector for each piece of all-MiniLM-L6-v2's vocabulary; a text is their weighted mean.

    384 dimensions, a space of its own. A text costs what looking up its pieces costs, and the order
    of its words is lost. `models.static_export` says how the vectors are made.
    """

    name = "static-minilm-l6-v2"
    artefact = "static"
