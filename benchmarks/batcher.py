"""Claim: behind the batcher 16 threads share forward passes, with the same results to the pixel.

Whether that saves time depends on the device, and this says by how much. Baseline: the same 16
threads behind the same batcher with batches of one, so that every photo has a forward pass of its
own. Both take turns on the same photos.
"""

import os
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from measuring import arguments, figures, machine, ratio, report, versions

import models
from models.enhancer import Enhancer
from pipeline.settings import Settings
from tasks.batcher import Batcher

PHOTOS = 64
WIDTH, HEIGHT = 160, 120
SCALE = 2
THREADS = 16
ROUNDS = 4
PHOTOS_PER_ROUND = PHOTOS // ROUNDS


def photos() -> list[np.ndarray]:
    """Different photos (120, 160, 3): crops of smooth noise, the same at every run."""
    random = np.random.default_rng(7)
    coarse = random.integers(0, 256, (PHOTOS, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    return list(coarse.repeat(8, axis=1).repeat(8, axis=2))


def run(
    enhancer: Enhancer, pictures: Sequence[np.ndarray], size: int, wait: float
) -> tuple[float, list[float], int, list[np.ndarray]]:
    """Seconds for all, seconds of each from call to result, forward passes, and the results."""

    def forward(scale: Hashable, images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        return enhancer(images, scale)  # type: ignore[arg-type]  # the group is the scale

    batcher: Batcher[np.ndarray, np.ndarray] = Batcher(forward, size, wait)

    def one(picture: np.ndarray) -> tuple[float, np.ndarray]:
        began = time.perf_counter()
        result = batcher(picture, SCALE)
        return time.perf_counter() - began, result

    before = enhancer.forward_passes
    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(threads.map(one, pictures))
    whole = time.perf_counter() - began
    seconds, results = zip(*answers, strict=True)
    return whole, list(seconds), enhancer.forward_passes - before, list(results)


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    settings = Settings()
    cores = os.cpu_count() or 1
    where = machine()
    enhancer = models.create("enhancer", "compact", weights=settings.model_dir, threads=cores)
    assert isinstance(enhancer, Enhancer)
    pictures = photos()
    ways = {"batched": (settings.batch_size, settings.batch_wait), "one by one": (1, 0.0)}
    for size, wait in ways.values():
        run(enhancer, pictures[: settings.batch_size], size, wait)

    wholes: dict[str, list[float]] = {way: [] for way in ways}
    each: dict[str, list[float]] = {way: [] for way in ways}
    passes = dict.fromkeys(ways, 0)
    results: dict[str, list[np.ndarray]] = {way: [] for way in ways}
    for number in range(ROUNDS):
        some = pictures[number * PHOTOS_PER_ROUND : (number + 1) * PHOTOS_PER_ROUND]
        # Whoever goes first changes from round to round: the machine warms up and slows down.
        for way in list(ways)[:: 1 if number % 2 == 0 else -1]:
            whole, seconds, forward_passes, enlarged = run(enhancer, some, *ways[way])
            wholes[way].append(whole)
            each[way] += seconds
            passes[way] += forward_passes
            results[way] += enlarged

    pairs = zip(results["batched"], results["one by one"], strict=True)
    difference = max(int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in pairs)
    per_photo = {way: [whole / PHOTOS_PER_ROUND for whole in wholes[way]] for way in ways}
    found = {
        "machine": where,
        "versions": versions(("torch", "numpy")),
        "sizes": {
            "photos": PHOTOS,
            "width": WIDTH,
            "height": HEIGHT,
            "scale": SCALE,
            "threads": THREADS,
            "batch": settings.batch_size,
            "batch_wait_s": settings.batch_wait,
            "rounds": ROUNDS,
            "compute_threads": cores,
        },
        "forward_passes": passes,
        "photos_per_second": {way: round(1 / float(np.median(per_photo[way])), 2) for way in ways},
        "latency": {way: figures(each[way]) for way in ways},
        "time_batched_to_one_by_one": ratio(per_photo["batched"], per_photo["one by one"]),
        "ratio_of_each_round": [
            round(a / b, 3) for a, b in zip(*(wholes[way] for way in ways), strict=True)
        ],
        "largest_difference": difference,
    }
    lines = [
        f"{way:11} {found['photos_per_second'][way]:7.2f} photos/s, "
        f"{passes[way]:3} forward passes, "
        f"a photo waits {found['latency'][way]['median_ms']:.0f} ms (median), "
        f"{found['latency'][way]['p99_ms']:.0f} ms (p99)"
        for way in ways
    ]
    spread = found["ratio_of_each_round"]
    lines += [
        f"time, batched to one by one: {found['time_batched_to_one_by_one']['ratio']:.2f} "
        f"({min(spread):.2f} to {max(spread):.2f} over {ROUNDS} rounds)",
        f"largest difference between the results: {difference} of 255",
    ]
    report("batcher", found, lines, options.json)


if __name__ == "__main__":
    main()
