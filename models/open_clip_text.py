"""OpenCLIP's text tower without torch: exported once, run by ONNX Runtime wherever it is needed.

Workers and web applications run the same file in the same precision, so that a query lies where
the category of the same name lies.
"""

import html
import json
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models import artefacts
from models.base import Model
from models.onnx_session import open_session
from models.open_clip_source import Source

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

TEXTS_PER_PASS = 64


class Tower(NamedTuple):
    """What `models.open_clip_export` made, opened."""

    session: "onnxruntime.InferenceSession"
    tokenizer: "tokenizers.Tokenizer"
    clean: Callable[[str], str]
    dimension: int
    context: int
    pad: int
    is_padded: bool
    scale: float
    things: list[str]


class OpenClipText(Model):
    """Turns texts into unit vectors of the space of a network's pictures."""

    name = "open-clip-text"
    version = "1"
    """Raised with every change of the exporter that changes what it makes."""

    def __init__(self, *, weights: Path, threads: int, source: Source) -> None:
        super().__init__(weights=weights, threads=threads)
        self._source = source

    @property
    def identity(self) -> str:
        return f"{self.name}@{self.version}.{self._source.identity}"

    @property
    def folder(self) -> Path:
        """Where the exported tower lies, whether it exists or not."""
        return artefacts.folder_of(self.weights, self.identity)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 of shape (len(texts), dimension), each row of length 1."""
        return encode(self.load(), texts)

    @property
    def scale(self) -> float:
        """The inverse temperature that the network was trained to compare cosines with."""
        return float(self.load().scale)

    def things(self) -> list[str]:
        """Names of a thousand kinds of things."""
        return list(self.load().things)

    def _load(self) -> Tower:
        source = self._source
        folder = artefacts.ensure_made(
            self.folder, "models.open_clip_export", [source.architecture, source.pretrained]
        )
        return open_tower(folder, self.threads)


def open_tower(folder: Path, threads: int) -> Tower:
    """Opens the artefact in a folder."""
    import tokenizers

    described = json.loads((folder / "encoder.json").read_text())
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    # tokenizer.json carries the padding and truncation of whoever saved it.
    tokenizer.no_padding()
    tokenizer.enable_truncation(int(described["context"]))
    return Tower(
        session=open_session(folder / "model.onnx", threads),
        tokenizer=tokenizer,
        clean=CLEANERS[described["clean"]],
        dimension=int(described["dimension"]),
        context=int(described["context"]),
        pad=int(described["pad"]),
        is_padded=bool(described["is_padded"]),
        scale=float(described["scale"]),
        things=described["things"],
    )


def encode(tower: Tower, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of the texts, float32 of shape (len(texts), dimension)."""
    vectors = np.empty((len(texts), tower.dimension), dtype=np.float32)
    tokens = [tower.tokenizer.encode(tower.clean(text)).ids for text in texts]
    # Texts of like length share a pass, so that little is computed on padding.
    order = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))
    for start in range(0, len(order), TEXTS_PER_PASS):
        rows = order[start : start + TEXTS_PER_PASS]
        vectors[rows] = _forward(tower, [tokens[row] for row in rows])
    return vectors


def _forward(tower: Tower, tokens: Sequence[Sequence[int]]) -> np.ndarray:
    length = tower.context if tower.is_padded else max(len(ids) for ids in tokens)
    padded = np.full((len(tokens), length), tower.pad, dtype=np.int64)
    for row, ids in enumerate(tokens):
        padded[row, : len(ids)] = ids
    (vectors,) = tower.session.run(["embedding"], {"tokens": padded})
    return vectors


def _spaced(text: str) -> str:
    """What open_clip does to every text before it is tokenized."""
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


def _lower(text: str) -> str:
    return _spaced(text).lower()


def _canonical(text: str) -> str:
    bare = _spaced(text).replace("_", " ").translate(str.maketrans("", "", string.punctuation))
    return " ".join(bare.lower().split())


CLEANERS: dict[str, Callable[[str], str]] = {
    "_clean_lower": _lower,
    "_clean_whitespace": _spaced,
    "_clean_canonicalize": _canonical,
}
"""By the names of open_clip's own functions, which cannot be imported without torch."""
