"""Two models are timed so that neither gains by what else the machine does."""

from collections.abc import Iterator, Sequence
from itertools import cycle

import numpy as np
import pytest

from models.text_training.evaluate import Encoder
from pipeline.retraining.latency import MOST_ROUNDS, ROUNDS, latencies


class Clock:
    """Time passes only while one of two encoders works, by turns of a seeded lot."""

    def __init__(self, spread: float) -> None:
        self.now = 0.0
        self.calls: list[str] = []
        self._lot = np.random.default_rng(3)
        self._spread = spread

    def encoder(self, name: str, seconds: float) -> Encoder:
        """It takes so long, times what else the machine does."""

        def encode(texts: Sequence[str]) -> np.ndarray:
            self.calls.append(name)
            self.now += seconds * float(np.exp(self._lot.normal(0, self._spread)))
            return np.ones((len(texts), 1), dtype=np.float32)

        return encode


@pytest.fixture
def clock_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Clock]]:
    class Ticking(Clock):
        def __init__(self, spread: float) -> None:
            super().__init__(spread)
            monkeypatch.setattr("pipeline.retraining.latency.time.perf_counter", lambda: self.now)

    yield Ticking


def test_each_is_first_in_every_other_round(clock_of: type[Clock]) -> None:
    clock = clock_of(0)
    found = latencies(clock.encoder("champion", 0.1), clock.encoder("challenger", 0.2), ["a"])
    assert found == pytest.approx((100, 200))
    names = cycle(["champion", "challenger", "challenger", "champion"])
    assert clock.calls[2:] == [next(names) for _ in range(2 * ROUNDS)]


@pytest.mark.parametrize("factor", [0.92, 1.0, 1.6])
def test_a_busy_machine_is_measured_on_for_longer(clock_of: type[Clock], factor: float) -> None:
    clock = clock_of(0.5)
    ours, theirs = latencies(clock.encoder("a", 0.1), clock.encoder("b", 0.1 * factor), ["a"])
    assert len(clock.calls) == 2 * MOST_ROUNDS + 2
    assert theirs / ours == pytest.approx(factor, rel=0.15)
