"""Sentences into vectors."""

import json
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from models import artefacts
from models.base import Model
from models.onnx_session import open_session

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

MAX_BATCH_TOKENS = 4096
"""Padded tokens in one forward pass: bounds memory, about 100 MB of activations for MiniLM."""


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
    pad: int


class SentenceOnnx(TextEncoder):
    """A sentence encoder exported by `models.export.sentence_encoder`.

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
        vectors = np.empty((len(texts), loaded.dimension), dtype=np.float32)
        tokens = [loaded.tokenizer.encode(text).ids for text in texts]
        # Texts of like length share a batch, so that little is computed on padding.
        by_length = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))
        for batch in _batches(by_length, [len(ids) for ids in tokens]):
            vectors[batch] = _forward(loaded, [tokens[index] for index in batch])
        return vectors

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
        session = open_session(folder / "model.onnx", self.threads)
        return _Loaded(
            session=session,
            tokenizer=tokenizer,
            counting=counting,
            dimension=int(described["dimension"]),
            pad=int(described["pad_token"]),
        )

    def _find(self) -> Path:
        assert self._folder is not None
        return self._folder


class MiniLM(SentenceOnnx):
    """all-MiniLM-L6-v2: 384 dimensions, up to 256 tokens.

    Wang et al. 2020, MiniLM (arXiv:2002.10957); Reimers and Gurevych 2019, Sentence-BERT
    (arXiv:1908.10084).
    """

    name = "all-minilm-l6-v2"

    def __init__(self, *, weights: Path, threads: int) -> None:
        super().__init__(
            weights=weights,
            threads=threads,
            folder=artefacts.folder(weights, "minilm"),
            identity=f"{self.name}@{artefacts.VERSIONS['minilm']}",
        )

    def _find(self) -> Path:
        return artefacts.ensure(self.weights, "minilm")


def _batches(order: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """Cuts an order of ascending lengths so that no batch pads to more than the bound."""
    batches: list[list[int]] = []
    for index in order:
        if batches and (len(batches[-1]) + 1) * lengths[index] <= MAX_BATCH_TOKENS:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _forward(loaded: _Loaded, tokens: Sequence[Sequence[int]]) -> np.ndarray:
    longest = max(len(ids) for ids in tokens)
    input_ids = np.full((len(tokens), longest), loaded.pad, dtype=np.int64)
    attention_mask = np.zeros((len(tokens), longest), dtype=np.int64)
    for row, ids in enumerate(tokens):
        input_ids[row, : len(ids)] = ids
        attention_mask[row, : len(ids)] = 1
    (vectors,) = loaded.session.run(
        ["sentence_embedding"], {"input_ids": input_ids, "attention_mask": attention_mask}
    )
    return vectors
