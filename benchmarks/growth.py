"""Claim: neither a page nor a new photo costs more in a large directory than in a small one.

Directories of 1,000 to 1,000,000 rows of ``imgrel``: 5 businesses with 40 photos in 4 categories,
which went through all six stages, and copies of them in every table of the stores, under docids
that lie all over. Models cost nothing, and their vectors are as large as the embedded profile's.
Baseline of each figure: the smallest directory, in the same run; the directories take turns.

A page is 5 businesses drawn at random, for a category, without a network; from 10,000 rows on also
25 of them. A photo goes from its upload through all six stages, one after the other in one process,
without a broker: what is left are pixels of a small picture, stores, and our own code. Targets: at
most 1.5 times the smallest directory's.

Beside them: how many embeddings of names and words a photo still needs while businesses with
further categories join a new directory, and how much storage a photo takes.

``FULL=1`` adds five million rows, a million photos, for pages; vectors would take 6 GB there and
are left out.
"""

import asyncio
import os
import random
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from measuring import (
    FULL,
    Entry,
    arguments,
    directory,
    entry,
    figures,
    machine,
    ratio,
    report,
    stages,
    versions,
)
from measuring.asking import ask
from measuring.directory import VOCABULARY, WANTED
from measuring.free_models import ENVIRONMENT
from measuring.plots import save, subplots

from api import relevancy
from api.wiring import Services, application
from pipeline.graph import Sender
from pipeline.settings import Settings

BUSINESSES = 5
PHOTOS = 40
CATEGORIES = 4
SEED_ROWS = BUSINESSES * PHOTOS * (CATEGORIES + 1)
ROWS = (1_000, 10_000, 100_000, 1_000_000)
PAGES_ONLY = (5_000_000,) if FULL else ()
# A little more than is written for each.
ROW_BYTES = 5_000

PAGE_SIZES = (5, 25)
PAGES = 100
WARM_UP = 10
LIMIT = 10
ROUNDS = 12
IMAGES = 5
TARGET = 1.5

# A new directory: who joins brings some categories that nobody had before.
JOINING = 40
PHOTOS_EACH = 3
KINDS = ("", "Organic ", "Family ", "Late-Night ", "Budget ")


def fill(place: Path) -> None:
    """The seed, through all stages."""
    dice = random.Random(11)
    others = [name for name in VOCABULARY if name != WANTED]
    businesses: dict[str, Sequence[str]] = {
        f"shop-{number}": [WANTED, *dice.sample(others, CATEGORIES - 1)]
        for number in range(BUSINESSES)
    }
    catids = {name: catid for catid, name in enumerate(VOCABULARY, 1)}
    photos = [(f"shop-{number % BUSINESSES}", 1 + number) for number in range(BUSINESSES * PHOTOS)]
    with stages.process(place) as own:
        own.submit(stages.save_businesses, businesses, catids).result()
        own.submit(stages.images, photos).result()
        own.submit(stages.close).result()


def make(folder: Path) -> dict[int, tuple[Path, list[str]]]:
    """A directory for each number of rows, with its docids."""
    seed = folder / "seed"
    fill(seed)
    made = {}
    for rows in (*ROWS, *PAGES_ONLY):
        place = folder / str(rows)
        shutil.copytree(seed, place, ignore=shutil.ignore_patterns("*.sock"))
        files = set(directory.TABLES) - ({"vectors.db"} if rows in PAGES_ONLY else set())
        made[rows] = place, directory.grow(place, rows // SEED_ROWS, files)
    return made


def _given(services: Services) -> Services:
    return services


async def pages(
    made: dict[int, tuple[Path, list[str]]],
) -> dict[int, dict[int, list[float]]]:
    """Seconds of every page, by its size and the rows of the directory."""
    dice = random.Random(2)
    seconds: dict[int, dict[int, list[float]]] = {
        size: {rows: [] for rows, (_, docids) in made.items() if len(docids) >= size}
        for size in PAGE_SIZES
    }
    async with AsyncExitStack() as running:
        apps: dict[int, FastAPI] = {}
        for rows, (place, _) in made.items():
            services = Services(Settings(data_dir=place), Sender())
            apps[rows] = application(
                "benchmark", "", [relevancy.router], relevancy.NEEDS, partial(_given, services)
            )
            await running.enter_async_context(apps[rows].router.lifespan_context(apps[rows]))
            await asyncio.to_thread(services.warm_up)
        for number in range(WARM_UP + PAGES):
            for size, by_rows in seconds.items():
                for rows, taken in by_rows.items():
                    wanted = dice.sample(made[rows][1], size)
                    body = {"docids": wanted, "category": WANTED, "limit": LIMIT}
                    one, _ = await ask(apps[rows], "/v1/relevance", body)
                    if number >= WARM_UP:
                        taken.append(one)
    return seconds


def images(made: dict[int, tuple[Path, list[str]]]) -> dict[int, list[float]]:
    """Seconds of every photo, by the rows of the directory."""
    dice = random.Random(3)
    seconds: dict[int, list[float]] = {rows: [] for rows in ROWS}
    numbers = iter(range(1_000_000, 2_000_000))
    with ExitStack() as stack:
        own = {rows: stack.enter_context(stages.process(made[rows][0])) for rows in ROWS}
        for number in range(1 + ROUNDS):
            for rows, taken in seconds.items():
                keys = [(dice.choice(made[rows][1]), next(numbers)) for _ in range(IMAGES)]
                found = own[rows].submit(stages.images, keys).result()
                # The first round opens stores and makes scorers.
                if number:
                    taken += found
    return seconds


def joining() -> Iterator[tuple[str, list[str]]]:
    """Businesses of a new directory: names that many have come early, and rare ones ever again."""
    dice = random.Random(5)
    names = [f"{kind}{name}" for kind in KINDS for name in VOCABULARY]
    dice.shuffle(names)
    weights = [1 / place for place in range(1, len(names) + 1)]
    for number in range(JOINING):
        chosen: dict[str, None] = {}
        while len(chosen) < CATEGORIES:
            chosen[dice.choices(names, weights)[0]] = None
        yield f"new-{number}", list(chosen)


def embeddings(place: Path) -> list[tuple[int, int]]:
    """Embeddings asked for and computed by each photo of a new directory."""
    found = []
    catids: dict[str, int] = {}
    numbers = iter(range(1, 1_000_000))
    with stages.process(place) as own:
        for docid, names in joining():
            for name in names:
                catids.setdefault(name, len(catids) + 1)
            own.submit(stages.save_businesses, {docid: names}, catids).result()
            for _ in range(PHOTOS_EACH):
                found.append(own.submit(stages.embedded, [(docid, next(numbers))]).result())
    return found


def storage(place: Path, photos: int) -> dict[str, int]:
    """Bytes of each store for a photo, indexes included."""
    sizes: dict[str, int] = {}
    parts = {"catalogue_details": "catalogue", "pixel_facts": "pixel facts"}
    for file in directory.TABLES:
        with closing(sqlite3.connect(place / file)) as database:
            rows = database.execute(
                "SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_schema USING (name) "
                "GROUP BY tbl_name"
            )
            for table, size in rows:
                if table in directory.TABLES[file]:
                    sizes[parts.get(table, table)] = round(size / photos)
    return sizes


def draw_costs(path: Path, costs: dict[str, dict[int, list[float]]]) -> None:
    """Median and 99th percentile by the rows of the directory."""
    figure, place = subplots(figsize=(7, 4))
    for name, by_rows in costs.items():
        rows = list(by_rows)
        middle = [1000 * float(np.median(taken)) for taken in by_rows.values()]
        high = [1000 * float(np.percentile(taken, 99)) for taken in by_rows.values()]
        (line,) = place.plot(rows, middle, marker="o", label=f"{name}, median")
        place.plot(rows, high, linestyle=":", color=line.get_color(), label="99 of 100 within")
    place.set(xlabel="rows of imgrel", ylabel="ms", xscale="log", ylim=(0, None))
    place.legend()
    save(figure, path)


def draw_embeddings(path: Path, counts: list[tuple[int, int]]) -> None:
    """What photos still compute, and the share that is found in the store."""
    figure, place = subplots(figsize=(7, 4))
    asked, computed = np.array(counts).T
    numbers = range(1, len(counts) + 1)
    place.bar(numbers, computed, label="computed by this photo")
    place.set(xlabel="photo", ylabel="embeddings", yscale="symlog")
    share = place.twinx()
    found = 1 - np.cumsum(computed) / np.cumsum(asked)
    share.plot(numbers, found, color="tab:orange", label="found so far")
    share.set(ylabel="share found in the store", ylim=(0, 1))
    figure.legend(loc="upper right")
    save(figure, path)


def draw_storage(path: Path, sizes: dict[str, int]) -> None:
    """Bytes of a photo by store."""
    figure, place = subplots(figsize=(7, 3))
    place.barh(list(sizes), list(sizes.values()))
    place.invert_yaxis()
    place.set(xlabel="bytes for a photo")
    save(figure, path)


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    where = machine()
    os.environ.update(ENVIRONMENT)
    sys.path.append(str(stages.ROOT))
    began = time.monotonic()
    with directory.folder(ROW_BYTES * sum((*ROWS, *PAGES_ONLY)) / 2**30) as name:
        folder = Path(name)
        made = make(folder)
        filled = time.monotonic() - began
        by_size = asyncio.run(pages(made))
        photos = images(made)
        counts = embeddings(folder / "new")
        sizes = storage(made[ROWS[-1]][0], ROWS[-1] // (CATEGORIES + 1))
    costs = {
        **{f"page_{size}": by_rows for size, by_rows in by_size.items()},
        "image": photos,
    }
    to_smallest = {
        cost: {rows: ratio(taken, by_rows[min(by_rows)]) for rows, taken in by_rows.items()}
        for cost, by_rows in costs.items()
    }
    asked, computed = np.array(counts).T
    half = len(counts) // 2
    later = 1 - computed[half:].sum() / asked[half:].sum()
    results: dict[str, Any] = {
        "machine": where,
        "versions": versions(("fastapi", "pydantic", "sqlalchemy", "celery", "numpy")),
        "sizes": {
            "rows": list(made),
            "photos_each": PHOTOS,
            "rows_a_photo": CATEGORIES + 1,
            "pages": PAGES,
            "photos": ROUNDS * IMAGES,
        },
        "filled_seconds": round(filled),
        "cost": {
            cost: {str(rows): figures(taken) for rows, taken in by_rows.items()}
            for cost, by_rows in costs.items()
        },
        "to_smallest": {
            cost: {str(rows): found for rows, found in by_rows.items()}
            for cost, by_rows in to_smallest.items()
        },
        "embeddings": {"asked": asked.tolist(), "computed": computed.tolist()},
        "bytes_a_photo": sizes,
    }
    lines = [
        f"{cost:8} {rows:9,} rows: {results['cost'][cost][str(rows)]['median_ms']:6.1f} ms median, "
        f"{results['cost'][cost][str(rows)]['p99_ms']:.1f} p99; to the smallest "
        f"{found['ratio']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
        for cost, by_rows in to_smallest.items()
        for rows, found in by_rows.items()
    ]
    lines += [
        f"embeddings: the first photo computes {computed[0]} of {asked[0]}, all {len(counts)} "
        f"{computed.sum()} of {asked.sum()}; found in the store "
        f"{1 - computed.sum() / asked.sum():.1%}, in the second half {later:.1%}",
        f"storage of a photo: {sum(sizes.values()):,} bytes beside its files: "
        + ", ".join(f"{name} {size:,}" for name, size in sizes.items()),
    ]
    if options.plots:
        draw_costs(options.plots / "growth.svg", costs)
        draw_embeddings(options.plots / "growth_embeddings.svg", counts)
        draw_storage(options.plots / "growth_storage.svg", sizes)

    def claimed(name: str, by_rows: dict[int, list[float]]) -> Entry:
        first, last = by_rows[min(by_rows)], by_rows[max(by_rows)]
        return entry(
            name, [1000 * one for one in last], [1000 * one for one in first], "ms", "lower", TARGET
        )

    entries = [
        claimed("growth_page", costs["page_5"]),
        claimed("growth_page_of_25", costs["page_25"]),
        claimed("growth_image", photos),
    ]
    report("growth", results, lines, options.json, entries)


if __name__ == "__main__":
    main()
