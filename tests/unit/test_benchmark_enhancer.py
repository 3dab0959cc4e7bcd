"""Which ways of running an enhancer's network are measured, and how often."""

from pathlib import Path

import enhancer
import numpy as np
import pytest

SECONDS = {
    "plain": 9.0,
    "enhancer": 4.0,
    "channels-last": 6.0,
    "openvino": 1.0,
    "ncnn": 5.0,
    "onnxruntime": 7.0,
}


class Way:
    """A way in a process that takes these seconds, whose results are so far from plain ones."""

    distances: dict[str, int]

    def __init__(self, way: str, name: str, device: str, folder: Path) -> None:
        self.way = way
        self.rounds = 0

    def ready(self) -> None:
        pass

    def round(self) -> float:
        self.rounds += 1
        # It gets ready first.
        is_slow = self.way == "ncnn" and self.rounds == 1
        return 10 * SECONDS[self.way] if is_slow else SECONDS[self.way]

    def results(self) -> list[np.ndarray]:
        return [np.full((8, 8, 3), self.distances.get(self.way, 0), np.uint8)]

    def end(self) -> dict[str, float]:
        return {"peak_gib": 1.0}


@pytest.fixture
def distances(monkeypatch) -> dict[str, int]:
    Way.distances = {}
    monkeypatch.setattr(enhancer, "Process", Way)
    monkeypatch.setattr(enhancer, "STAYING", 2)
    return Way.distances


def test_the_fastest_ways_with_equal_output_are_measured_once_all_are_warm(distances) -> None:
    distances["openvino"] = 2
    found = enhancer.in_turns(list(SECONDS), "compact", "cpu")
    rounds = {way: len(found[way]["seconds"]) for way in SECONDS}
    assert rounds == {
        **dict.fromkeys(("plain", "enhancer", "ncnn", "channels-last"), enhancer.ROUNDS),
        **dict.fromkeys(("openvino", "onnxruntime"), 1),
    }
    assert found["openvino"]["psnr_to_plain"] < enhancer.EQUAL_DB


def test_an_enhancer_whose_output_is_another_is_not_compared(distances) -> None:
    distances["enhancer"] = 1
    with pytest.raises(SystemExit, match=r"48\.1 dB"):
        enhancer.in_turns(list(SECONDS), "compact", "cpu")
