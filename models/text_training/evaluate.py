"""How good an encoder of texts is, by its vectors alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.errors import UnsuitableInput, UnsuitableWeights
from models.text_training.data import Pair, Retrieval

Encoder = Callable[[Sequence[str]], np.ndarray]
"""Texts into unit vectors, float32 of shape (len(texts), dimension)."""

RANKS = 10
"""A right text further down counts as not found."""

_QUERIES_AT_ONCE = 256


@dataclass(frozen=True)
class Similarity:
    """Cosines against people's scores of likeness.

    Attributes
    ----------
    spearman, pearson:
        Correlations, -1..1.
    squared_error:
        Mean squared difference between cosine and score.
    """

    spearman: float
    pearson: float
    squared_error: float


@dataclass(frozen=True)
class Paraphrase:
    """How well a threshold on the cosine tells paraphrases from other pairs."""

    f1: float
    precision: float
    recall: float
    threshold: float


def reciprocal_ranks(encode: Encoder, retrieval: Retrieval) -> np.ndarray:
    """Of each query 1 / rank of its first right text, 0 below the tenth: shape (queries,).

    Their mean is MRR@10 (Voorhees 1999; Nguyen et al. 2016, MS MARCO). A text that is the query
    itself is not searched; of texts with one score the wrong one is first.
    """
    corpus = _vectors(encode, retrieval.corpus)
    positions = {text: at for at, text in enumerate(retrieval.corpus)}
    found = np.zeros(len(retrieval.queries))
    for start in range(0, len(found), _QUERIES_AT_ONCE):
        queries = retrieval.queries[start : start + _QUERIES_AT_ONCE]
        for at, scores in enumerate(_vectors(encode, queries) @ corpus.T, start):
            own = positions.get(retrieval.queries[at])
            right = [each for each in retrieval.relevant[at] if each != own]
            if not right:
                continue
            best = scores[right].max()
            scores[list(retrieval.relevant[at])] = -np.inf
            if own is not None:
                scores[own] = -np.inf
            rank = 1 + int((scores >= best).sum())
            found[at] = 1 / rank if rank <= RANKS else 0.0
    return found


def similarity(encode: Encoder, pairs: Sequence[Pair]) -> Similarity:
    """The regression of semantic textual similarity (Cer et al. 2017, STS benchmark)."""
    if len(pairs) < 2:
        raise UnsuitableInput("a correlation needs two pairs or more")
    cosines = _cosines(encode, pairs)
    scores = np.array([pair.score for pair in pairs])
    return Similarity(
        spearman=_correlation(_ranks(cosines), _ranks(scores)),
        pearson=_correlation(cosines, scores),
        squared_error=float(np.square(cosines - scores).mean()),
    )


def paraphrase(encode: Encoder, pairs: Sequence[Pair], seed: int = 0) -> Paraphrase:
    """F1 on half of the pairs, at the threshold that is best on the other half."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    cosines = _cosines(encode, pairs)[order]
    same = np.array([pair.score >= 0.5 for pair in pairs])[order]
    half = len(pairs) // 2
    if not (same[:half].any() and same[half:].any()):
        raise UnsuitableInput("there are too few paraphrases to choose a threshold and to check it")
    threshold = _best_threshold(cosines[:half], same[:half])
    said, true = cosines[half:] >= threshold, same[half:]
    hits = int((said & true).sum())
    return Paraphrase(
        f1=2 * hits / int(said.sum() + true.sum()),
        precision=hits / max(1, int(said.sum())),
        recall=hits / int(true.sum()),
        threshold=threshold,
    )


def _vectors(encode: Encoder, texts: Sequence[str]) -> np.ndarray:
    vectors = encode(texts)
    if not np.isfinite(vectors).all():
        raise UnsuitableWeights("the encoder gives vectors that are not numbers")
    return vectors


def _cosines(encode: Encoder, pairs: Sequence[Pair]) -> np.ndarray:
    first = _vectors(encode, [pair.first for pair in pairs])
    second = _vectors(encode, [pair.second for pair in pairs])
    return (first * second).sum(axis=1).astype(np.float64)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Of each value its rank, equal ones sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _correlation(left: np.ndarray, right: np.ndarray) -> float:
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])


def _best_threshold(cosines: np.ndarray, same: np.ndarray) -> float:
    """Between two cosines that occur: where F1 is largest."""
    order = np.argsort(-cosines)
    ranked = cosines[order]
    hits = np.cumsum(same[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + same.sum())
    # Equal cosines fall on one side of any threshold.
    f1[:-1][ranked[:-1] == ranked[1:]] = 0
    at = int(f1.argmax())
    below = ranked[at + 1] if at + 1 < len(ranked) else ranked[at]
    return float((ranked[at] + below) / 2)
