"""``justlens capacity measure``: what stages take here, or in workers that run elsewhere."""

import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

from cli.output import err, out, print_json, progress
from cli.own_workers import Layout, OwnWorkers, Worker
from cli.processes import data_folder
from pipeline.capacity.service_times import POOLS, Figures, ServiceTimes, StageTime, stage_times
from pipeline.errors import JustLensError
from pipeline.queues import Stage
from pipeline.settings import Settings

# Few enough that nobody waits for a core, many enough that it does not take all day.
ALONE = 1
# More than the slots of the stage that has most.
BUSY = 24
WARM_UP = 8
CATEGORIES = ("Coffee Shops", "Pet Shops", "Photographers", "Travel Agents", "Hotels")
ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True)
class Measured:
    """Service times, and what images take beside the workers on the same machine.

    Attributes:
        beside: seconds on a core for each image, of the broker and of who hands photos in.
        rate: images a second while many were in flight.
    """

    times: ServiceTimes
    beside: float
    rate: float


def measure(
    folder: Path | None, *, addresses: Sequence[str], seconds: float, to: Path, json_output: bool
) -> None:
    """Measure and write the file that ``justlens capacity --service-times`` reads.

    Raises:
        JustLensError: there are too few photos, or no stage has run.
    """
    if addresses:
        times = scraped(addresses, seconds)
    elif folder is None:
        raise JustLensError(
            "say which photos to measure with, or with --from which running workers to ask"
        )
    else:
        times = _with_own_workers(folder, seconds)
    to.write_text(times.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if json_output:
        print_json(json.loads(times.model_dump_json()))
        return
    for stage, time_ in times.stages.items():
        out.print(
            f"{stage.value:28} {1000 * time_.core_seconds:8.1f} ms on a core, "
            f"{1000 * time_.wait_seconds:8.1f} ms waiting",
            highlight=False,
        )
    out.print(f"{times.measured}\nwritten to {to}", highlight=False)


def scraped(addresses: Sequence[str], seconds: float) -> ServiceTimes:
    """What running workers did within some seconds, by their figures.

    Raises:
        JustLensError: one does not answer, or not every stage has run.
    """
    before = Figures([_figures(address) for address in addresses])
    with progress() as bars:
        waited = bars.add_task("watching", total=round(seconds), note="")
        for _ in range(round(seconds)):
            time.sleep(1)
            bars.advance(waited)
    found = Figures([_figures(address) for address in addresses]).since(before)
    stages = stage_times(found)
    if missing := [stage.value for stage in Stage if stage not in stages]:
        raise JustLensError(
            f"no image went through {', '.join(missing)} within {seconds:g} s: name the workers of "
            "all stages with --from, watch for longer with --seconds, or send photos meanwhile"
        )
    images = found.total("justlens_stage_seconds_count", stage=Stage.ENHANCE.value, outcome="done")
    return ServiceTimes(
        measured=_words(images, f"of {len(addresses)} running workers"),
        stages=stages,
        calls_per_image=_calls(found, images),
    )


def _figures(address: str) -> str:
    try:
        answer = httpx.get(address, timeout=10)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise JustLensError(f"{address} tells no figures: {error}") from error
    return answer.text


def _with_own_workers(folder: Path, seconds: float) -> ServiceTimes:
    photos = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in ENDINGS]
    if len(photos) < 5 * WARM_UP:
        raise JustLensError(
            f"{folder} holds {len(photos)} photos; {5 * WARM_UP} different ones are the least"
        )
    with tempfile.TemporaryDirectory() as place, data_folder(Path(place)) as settings:
        own = OwnWorkers(settings, {})
        own.open_business(CATEGORIES)
        try:
            contents = (path.read_bytes() for path in photos)
            err.print("Starting a worker for each pool ...")
            with own.running([Layout(stages) for stages in POOLS.values()]) as workers:
                return fitted(own, workers, contents, settings, seconds).times
        finally:
            own.close()


def fitted(
    own: OwnWorkers,
    workers: Sequence[Worker],
    photos: Iterator[bytes],
    settings: Settings,
    seconds: float,
) -> Measured:
    """Service times by workers that run here: first with an image at a time, then with many.

    What waits is taken from the first, since there nobody waits for a core; what computes from the
    second, since two cores that share caches, or are threads of one, compute less than twice as
    much.

    Args:
        seconds: for both together.
    """
    for _ in range(WARM_UP):
        own.hand_in(next(photos))
    own.drain()
    kept, sent, before = own.stored(), own.sent, _of(workers)
    own.load(photos, ALONE, seconds=seconds / 3)
    middle = _of(workers)
    _, beside_before = own.cpu_seconds(workers)
    rate = own.load(photos, BUSY, seconds=2 * seconds / 3)
    ended = _of(workers)
    _, beside_after = own.cpu_seconds(workers)
    batches = {Stage.ENHANCE: settings.batch_size, Stage.TAG: settings.image_text_batch_size}
    first, second, whole = middle.since(before), ended.since(middle), ended.since(before)
    alone, busy = stage_times(first, batches), stage_times(second, batches)
    if set(alone) != set(Stage) or set(busy) != set(Stage):
        raise JustLensError("too few photos came through to measure: give more, or --seconds")
    images = second.total("justlens_stage_seconds_count", stage=Stage.ENHANCE.value, outcome="done")
    grown = {name: size - kept[name] for name, size in own.stored().items()}
    count = own.sent - sent
    times = ServiceTimes(
        measured=_words(count, f"on {_machine()}"),
        stages={stage: _joined(alone[stage], busy[stage]) for stage in Stage},
        bytes_per_image={name: round(size / count, 1) for name, size in grown.items()},
        calls_per_image=_calls(whole, count),
        worker_gib=_memory(workers),
    )
    return Measured(times, (beside_after - beside_before) / images, rate)


def _of(workers: Sequence[Worker]) -> Figures:
    return Figures([worker.figures() for worker in workers])


def _joined(alone: StageTime, busy: StageTime) -> StageTime:
    return busy.model_copy(update={"wait_seconds": alone.wait_seconds, "scv": alone.scv})


def _calls(figures: Figures, images: float) -> dict[str, float]:
    calls = figures.by("justlens_store_seconds_count", "store")
    return {store: round(count / images, 2) for store, count in sorted(calls.items()) if count}


def _memory(workers: Sequence[Worker]) -> Mapping[str, float]:
    """The most that a worker of a stage of each pool takes."""
    resident = {
        stage: worker.process.memory_info().rss / 2**30
        for worker in workers
        for stage in worker.layout.stages
    }
    return {
        pool: round(max(resident[stage] for stage in stages), 2) for pool, stages in POOLS.items()
    }


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores ({platform.machine()}, {memory:.0f} GiB)"


def _words(images: float, where: str) -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}, {images:.0f} images, {where}"
