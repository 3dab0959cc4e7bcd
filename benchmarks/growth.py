"""Claim: a page takes as long in a directory of a million photos as in one of a thousand.

Baseline: the same page from the smallest directory, in the same run. Each directory holds copies of
the same 25 businesses with 40 photos each; a page is 25 of its businesses, drawn at random, for a
category, and the directories take turns. No network; the time of the stores is part of it.

A million photos are five million rows of ``imgrel`` and 2 GB; ``FULL=0`` ends with a hundred
thousand.
"""

import asyncio
import os
import random
import shutil
import time
from contextlib import AsyncExitStack
from pathlib import Path

from fastapi import FastAPI
from measuring import arguments, directory, figures, machine, ratio, report, versions
from measuring.asking import ask
from measuring.directory import BUSINESSES, PHOTOS, WANTED

from api import relevancy
from api.wiring import Services, application
from pipeline.graph import Sender
from pipeline.settings import Settings

SIZES = (1_000, 10_000, 100_000, 1_000_000)
REQUESTS = 150
WARM_UP = 20
LIMIT = 10


def make(folder: Path, sizes: tuple[int, ...]) -> dict[int, tuple[Path, list[str]]]:
    """A directory for each number of photos, with its docids."""
    seed = folder / "seed"
    directory.make(seed)
    made = {}
    for size in sizes:
        place = folder / str(size)
        shutil.copytree(seed, place, ignore=shutil.ignore_patterns("*.sock"))
        made[size] = place, directory.grow(place, size // (BUSINESSES * PHOTOS))
    return made


async def measure(made: dict[int, tuple[Path, list[str]]]) -> dict[int, list[float]]:
    """Seconds of every page, by the size of the directory."""
    dice = random.Random(2)
    seconds: dict[int, list[float]] = {size: [] for size in made}
    async with AsyncExitStack() as running:
        apps: dict[int, FastAPI] = {}
        for size, (place, _) in made.items():
            services = Services(Settings(data_dir=place), Sender())
            apps[size] = application(
                "benchmark", "", [relevancy.router], relevancy.NEEDS, lambda own=services: own
            )
            await running.enter_async_context(apps[size].router.lifespan_context(apps[size]))
            await asyncio.to_thread(services.warm_up)
        for number in range(WARM_UP + REQUESTS):
            for size, (_, docids) in made.items():
                wanted = dice.sample(docids, BUSINESSES)
                body = {"docids": wanted, "category": WANTED, "limit": LIMIT}
                taken, _ = await ask(apps[size], "/v1/relevance", body)
                if number >= WARM_UP:
                    seconds[size].append(taken)
    return seconds


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    where = machine()
    sizes = SIZES[:-1] if os.environ.get("FULL") == "0" else SIZES
    began = time.monotonic()
    with directory.folder() as folder:
        made = make(Path(folder), sizes)
        filled = time.monotonic() - began
        seconds = asyncio.run(measure(made))
    smallest = seconds[sizes[0]]
    results = {
        "machine": where,
        "versions": versions(("fastapi", "pydantic", "sqlalchemy", "numpy")),
        "sizes": {"photos": list(sizes), "businesses": BUSINESSES, "photos_each": PHOTOS},
        "filled_seconds": round(filled),
        "latency": {str(size): figures(taken) for size, taken in seconds.items()},
        "to_smallest": {str(size): ratio(taken, smallest) for size, taken in seconds.items()},
    }
    lines = [
        f"{size:9,} photos: {results['latency'][str(size)]['median_ms']:6.1f} ms median, "
        f"{results['latency'][str(size)]['p99_ms']:.1f} p99; to the smallest "
        f"{results['to_smallest'][str(size)]['ratio']:.2f} "
        f"({results['to_smallest'][str(size)]['low']:.2f} to "
        f"{results['to_smallest'][str(size)]['high']:.2f})"
        for size in sizes
    ]
    report("growth", results, lines, options.json)


if __name__ == "__main__":
    main()
