"""Claim: a training of the text model does not disturb whoever asks for pages.

A page is 25 businesses with 40 photos each. A server as `justlens up` starts it is asked for pages
at random times, 10 a second on average, whether or not the ones before are answered (an open
loop); every other page is of a query that nobody has asked before. Beside it the packaged text
model is trained as a night does it: in a process of its own, with one thread, at a niceness of 10,
without an end. Baseline: the same server and requests while the training is stopped (SIGSTOP). The
two take turns. The training must have used a processor in each of its turns, or there is no figure.

    .venv/bin/python benchmarks/training_beside_serving.py
"""

import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from measuring import (
    FULL,
    RESAMPLES,
    Entry,
    arguments,
    directory,
    entry,
    figures,
    machine,
    plots,
    report,
    versions,
)
from measuring.directory import BUSINESSES, PHOTOS, WANTED
from measuring.serving import Server, open_loop

RATE = 10.0
TURNS = 20 if FULL else 5
TURN_SECONDS = 30.0 if FULL else 8.0
LIMIT = 10
START_SECONDS = 300.0
NICENESS = 10
# Many passes over few: steps for half an hour, and no long preparation.
EXAMPLES, PASSES = 200, 200
# Of a turn: less is no training that could disturb anybody.
LEAST_OF_A_CORE = 0.2


class Training:
    """A real one, of the packaged model, stopped unless it is told to go on.

    Args:
        place: an empty folder.
    """

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self._output = place / "training.log"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, __file__, "train", str(place)],
                env=os.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> "Training":
        deadline = time.monotonic() + START_SECONDS
        while not self.steps():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"no training began: {self._output.read_text()[-2000:]}")
            time.sleep(0.1)
        self.stop()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def go_on(self) -> None:
        """Let it train."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Let it wait."""
        self._process.send_signal(signal.SIGSTOP)

    def steps(self) -> int:
        """How many it has made."""
        return self._output.read_text().count("step\n")

    def seconds(self) -> float:
        """Of a processor that it has used."""
        used = psutil.Process(self._process.pid).cpu_times()
        return used.user + used.system


def train(place: Path) -> None:
    """Train without an end, and print each step."""
    os.nice(NICENESS)
    from models.export import minilm_source
    from models.text_training.data import Example, as_retrieval
    from models.text_training.recipe import Recipe
    from models.text_training.train import Lesson, train

    dice = random.Random(3)
    words = [word for name in directory.VOCABULARY for word in name.lower().split()]
    examples = [
        Example(" ".join(dice.sample(words, 6)), " ".join(dice.sample(words, 4)), None)
        for _ in range(EXAMPLES)
    ]
    train(
        minilm_source(),
        Lesson(examples, [], as_retrieval(examples[:20]), []),
        Recipe(passes=PASSES, patience=PASSES),
        place / "trained",
        threads=1,
        on_step=lambda done, total: print("step", flush=True) if done else None,
    )


def pages(docids: list[str]) -> Iterator[tuple[str, object]]:
    """Endless requests: a category and a fresh query in turn."""
    fresh = directory.misspelt(int(4 * RATE * (TURNS + 1) * (TURN_SECONDS + 10)))
    for query in itertools.cycle(fresh):
        for wanted in ({"category": WANTED}, {"query": query}):
            yield "/v1/relevance", {"docids": docids, "limit": LIMIT, **wanted}


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    where = machine()
    taken: dict[str, list[list[float]]] = {"beside": [], "alone": []}
    of_a_core, steps = [], 0
    with directory.folder() as name:
        place = Path(name)
        requests = pages(directory.make(place / "data"))
        with Training(place / "training") as training, Server(place / "data", 1) as server:
            for turn in range(2 * TURNS):
                way = ("alone", "beside")[turn % 2]
                if way == "beside":
                    training.go_on()
                began, used, made = time.monotonic(), training.seconds(), training.steps()
                taken[way].append(asyncio.run(open_loop(server.port, requests, RATE, TURN_SECONDS)))
                if way == "beside":
                    of_a_core.append((training.seconds() - used) / (time.monotonic() - began))
                    steps += training.steps() - made
                    training.stop()
    if min(of_a_core) < LEAST_OF_A_CORE or not steps:
        raise RuntimeError(f"the training had too little of a core: {of_a_core}, {steps} steps")
    seconds = {way: list(itertools.chain(*turns)) for way, turns in taken.items()}
    ms = {way: [1000 * one for one in found] for way, found in seconds.items()}
    median = entry("serving_beside_training", ms["beside"], ms["alone"], "ms", "lower", 1.5)
    slowest = slowest_entry(ms["beside"], ms["alone"])
    results = {
        "machine": where,
        "versions": versions(("torch", "sentence-transformers", "onnxruntime", "fastapi")),
        "sizes": {
            "businesses": BUSINESSES,
            "photos_each": PHOTOS,
            "requests_a_second": RATE,
            "turns": TURNS,
            "seconds_of_a_turn": TURN_SECONDS,
        },
        "latency": {way: figures(found) for way, found in seconds.items()},
        "training": {
            "of_a_core": round(float(np.median(of_a_core)), 2),
            "least_of_a_core": round(min(of_a_core), 2),
            "steps": steps,
        },
    }
    lines = [
        f"{way:6} {found['median_ms']:.1f} ms median, {found['p99_ms']:.1f} ms p99, "
        f"{found['n']} pages"
        for way, found in results["latency"].items()
    ]
    lines.append(
        f"the training made {steps} steps meanwhile and had {np.median(of_a_core):.2f} of a core "
        f"(at least {min(of_a_core):.2f})"
    )
    if options.plots:
        draw(ms, options.plots / "training_beside_serving.svg")
    report("training_beside_serving", results, lines, options.json, [median, slowest])


def slowest_entry(beside: list[float], alone: list[float]) -> Entry:
    """How long 99 of 100 pages take at most: what is claimed is ours, in ms."""
    random_turns = np.random.default_rng(0)

    def drawn(found: list[float]) -> np.ndarray:
        resampled = random_turns.choice(found, (RESAMPLES, len(found)))
        return np.percentile(resampled, 99, axis=1)

    low, high = np.percentile(drawn(beside) / drawn(alone), (2.5, 97.5))
    ours, baseline = (float(np.percentile(found, 99)) for found in (beside, alone))
    return Entry(
        "serving_beside_training_p99",
        round(ours, 1),
        round(baseline, 1),
        round(ours / baseline, 3),
        (round(float(low), 3), round(float(high), 3)),
        "ms",
        "lower",
        60,
        "ours",
    )


def draw(ms: dict[str, list[float]], path: Path) -> None:
    """Which share of the pages was there after how long."""
    figure, axes = plots.subplots(figsize=(5, 3))
    for way, label in (("alone", "training stopped"), ("beside", "beside a training")):
        found = np.sort(ms[way])
        axes.plot(found, np.arange(1, len(found) + 1) / len(found), label=label)
    axes.axvline(60, color="grey", linestyle=":", label="60 ms")
    axes.set_xscale("log")
    axes.set_xlabel("ms until a page was there")
    axes.set_ylabel("share of pages")
    axes.legend(frameon=False)
    plots.save(figure, path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train(Path(sys.argv[2]))
    else:
        main()
