"""What every text model is measured by before it may serve, on the runtime that serves."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice

from models.text_training.data import Pair, Retrieval
from models.text_training.evaluate import (
    Encoder,
    paraphrase,
    reciprocal_ranks,
    similarity,
)
from pipeline.retraining.decision import Measured
from pipeline.retraining.latency import latencies
from pipeline.retraining.oov import Pieces, oov_share

SENTENCES = 128
"""Encoded at once when a model is timed."""


@dataclass(frozen=True)
class Exam:
    """The questions.

    Attributes:
        unknown: queries with enough terms out of vocabulary: the primary metric.
        known: the other queries, which are measured for people to see.
        sts: pairs with scores; empty: not asked.
        quora: pairs that are paraphrases or not; empty: not asked.
        msmarco: another thing to search; none: not asked.
    """

    unknown: Retrieval
    known: Retrieval
    sts: Sequence[Pair] = ()
    quora: Sequence[Pair] = ()
    msmarco: Retrieval | None = None

    @property
    def digest(self) -> str:
        """Of the primary metric's questions: models with the same one can be compared."""
        asked = [self.unknown.queries, self.unknown.corpus, [*map(sorted, self.unknown.relevant)]]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Answers:
    """What a model scored.

    Attributes:
        figures: all of them by name, for people and for the registry.
    """

    measured: Measured
    figures: dict[str, float] = field(default_factory=dict)


def exam(
    searched: Retrieval,
    pieces: Pieces,
    share: float,
    sts: Sequence[Pair] = (),
    quora: Sequence[Pair] = (),
    msmarco: Retrieval | None = None,
) -> Exam:
    """Divide what is searched for by its terms.

    Args:
        pieces: of the tokenizer that retraining started from, which all models are measured by.
            What later ones have learnt would leave the slice otherwise.
        share: of a query's terms, from which it counts for the primary metric.
    """
    unknown = [oov_share(query, pieces) >= share for query in searched.queries]
    return Exam(
        unknown=searched.only([at for at, counts in enumerate(unknown) if counts]),
        known=searched.only([at for at, counts in enumerate(unknown) if not counts]),
        sts=sts,
        quora=quora,
        msmarco=msmarco,
    )


def answers(encode: Encoder, asked: Exam) -> Answers:
    """Measure all but the latency.

    Raises:
        UnsuitableWeights: the model gives vectors that are not numbers.
    """
    ranks = reciprocal_ranks(encode, asked.unknown)
    figures, guards = {}, {}
    if len(ranks):
        figures["mrr_at_10"] = float(ranks.mean())
    if asked.known.queries:
        figures["mrr_at_10_known"] = float(reciprocal_ranks(encode, asked.known).mean())
    if asked.sts:
        found = similarity(encode, asked.sts)
        guards["sts_spearman"] = found.spearman
        guards["sts_pearson"] = found.pearson
        guards["sts_squared_error"] = found.squared_error
    if asked.quora:
        told = paraphrase(encode, asked.quora)
        guards["paraphrase_f1"] = told.f1
        figures["paraphrase_threshold"] = told.threshold
    if asked.msmarco:
        guards["msmarco_mrr_at_10"] = float(reciprocal_ranks(encode, asked.msmarco).mean())
    measured = Measured(reciprocal_ranks=ranks.tolist(), guards=guards)
    return Answers(measured, {**figures, **guards})


def times(champion: Encoder, challenger: Encoder, asked: Exam) -> tuple[float, float]:
    """Milliseconds of each for 128 sentences of what is searched."""
    texts = list(islice(cycle(asked.unknown.corpus or asked.known.corpus), SENTENCES))
    return latencies(champion, challenger, texts)
