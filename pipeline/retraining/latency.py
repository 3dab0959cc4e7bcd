"""How long two text models take, beside whatever else the machine does."""

import time
from collections.abc import Sequence

import numpy as np

from models.text_training.evaluate import Encoder

ROUNDS, MOST_ROUNDS = 15, 150
SURE = 0.05
"""Half of the 95 % interval of the ratio with which no further round is needed."""


def latencies(champion: Encoder, challenger: Encoder, texts: Sequence[str]) -> tuple[float, float]:
    """Milliseconds in which each encodes the texts, by the median.

    They take turns at being first, and the challenger's figure is the champion's times the median
    of their ratio in a round: what else the machine does slows both, but not every round alike. On
    a busy machine, where of fifteen the ratio can come out half as large again, there are more.
    """
    both = (champion, challenger)
    for encode in both:
        encode(texts)
    rounds: list[list[float]] = []
    while len(rounds) < ROUNDS or (len(rounds) < MOST_ROUNDS and _spread(rounds) > SURE):
        taken = [0.0, 0.0]
        for at in (0, 1) if len(rounds) % 2 == 0 else (1, 0):
            began = time.perf_counter()
            both[at](texts)
            taken[at] = 1000 * (time.perf_counter() - began)
        rounds.append(taken)
    ours = float(np.median([taken[0] for taken in rounds]))
    return ours, ours * float(np.exp(np.median(_logarithms(rounds))))


def _logarithms(rounds: Sequence[Sequence[float]]) -> np.ndarray:
    taken = np.log(rounds)
    return taken[:, 1] - taken[:, 0]


def _spread(rounds: Sequence[Sequence[float]]) -> float:
    """Half of the 95 % interval of the median, from the median absolute deviation."""
    found = _logarithms(rounds)
    deviation = 1.4826 * np.median(np.abs(found - np.median(found)))
    return float(1.96 * 1.2533 * deviation / np.sqrt(len(found)))
