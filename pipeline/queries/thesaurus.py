"""What people ask for, by the trade that has it.

A sentence encoder knows that a sofa is furniture. It does not know where one goes with a flat tyre,
nor what a dabba is. `thesaurus.txt` says so for the trades of a town, in plain words: each line a
trade under its common names, and what it is asked for. A category of the directory is related to
trades by the encoder, whatever it is called there; the thesaurus knows no category.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from pipeline.embeddings import TextEmbeddings
from pipeline.queries.folding import fold

log = logging.getLogger(__name__)

# A category is of a trade from this cosine of their names on, and of a second one that comes near
# the first.
LEAST_RELATED = 0.6
MOST_RELATED = 2
NEAR_THE_FIRST = 0.8


@dataclass(frozen=True)
class Thesaurus:
    """Texts and the trade of each, in ascending order of trades.

    ``trade_of`` (T,) holds the trade's number for each of the ``texts``; ``is_name`` (T,) says
    which of them are names of the trade.
    """

    texts: Sequence[str]
    trade_of: np.ndarray
    is_name: np.ndarray

    @classmethod
    @cache
    def load(cls) -> "Thesaurus":
        """The thesaurus that comes with the product, read once in a process."""
        return cls.parse(files("pipeline.queries").joinpath("thesaurus.txt").read_text("utf-8"))

    @classmethod
    def parse(cls, text: str) -> "Thesaurus":
        """From lines ``name | other name: asked for; asked for``; # begins a comment."""
        rows: list[tuple[str, int, bool]] = []
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        for number, line in enumerate(lines):
            names, _, asked_for = line.partition(":")
            rows += [(fold(name), number, True) for name in names.split("|")]
            rows += [(fold(thing), number, False) for thing in asked_for.split(";")]
        rows = list(dict.fromkeys(row for row in rows if row[0]))
        return cls(
            texts=[text for text, _, _ in rows],
            trade_of=np.array([number for _, number, _ in rows], dtype=np.intp),
            is_name=np.array([is_name for _, _, is_name in rows], dtype=bool),
        )

    def vectors(self, embeddings: TextEmbeddings, cache: Path | None) -> np.ndarray:
        """Embeddings (T, D) of ``texts``, float32; kept in a file of the folder ``cache``.

        A thousand texts take seconds, and they are the same whatever the directory.

        Raises:
            StoreUnavailable, ConfigurationError: as the embeddings.
        """
        if cache is None:
            return embeddings(self.texts)
        made_of = hashlib.sha256("\n".join([embeddings.model, *self.texts]).encode()).hexdigest()
        path = cache / f"thesaurus-{made_of[:16]}.npy"
        try:
            return np.load(path)
        except (FileNotFoundError, NotADirectoryError):
            vectors = embeddings(self.texts)
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=cache, suffix=".npy", delete=False) as file:
                np.save(file, vectors)
            os.replace(file.name, path)
        except OSError as error:
            log.warning("the thesaurus is embedded anew at the next start: %s", error)
        return vectors

    def by_trade(self, values: np.ndarray) -> np.ndarray:
        """The largest (..., E) of the values (..., T) of each trade's texts."""
        return _largest(values, self.trade_of)

    def related(self, names: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The trades that categories are of, at most two each.

        Args:
            names: embeddings (2N, D) of the categories' names, in two forms each.
            texts: embeddings (T, D) of ``texts``.

        Returns:
            Their numbers (N, K) and how sure each is (N, K), 0..1; 0: not of that trade.
        """
        cosines = (names @ texts[self.is_name].T).reshape(2, len(names) // 2, -1).max(axis=0)
        nearness = _largest(cosines, self.trade_of[self.is_name])
        count = min(MOST_RELATED, nearness.shape[1])
        nearest = np.argsort(-nearness, axis=1, kind="stable")[:, :count]
        sure = np.take_along_axis(nearness, nearest, axis=1)
        enough = np.maximum(LEAST_RELATED, NEAR_THE_FIRST * sure[:, :1])
        return nearest, np.where(sure >= enough, sure, 0.0).astype(np.float32)


def _largest(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The largest of each group's values along the last axis; groups in ascending order."""
    return np.maximum.reduceat(values, np.flatnonzero(np.diff(group, prepend=-1)), axis=-1)
