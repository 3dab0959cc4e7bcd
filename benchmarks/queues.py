"""Claim: the workers of the image-text and the enhancement queue lose little to being workers.

Each is a real Celery worker on the embedded broker, with the product's models and stores, whose
queue is full before it starts. Its throughput is that between the ends of two of its runs, as
recorded: after the first ones, which warm it up, and the last. Baseline: a loop in one process that
takes the same photos out of the same kind of stores, decodes, runs the same models on the same
number of threads in the same batches, and writes what it found and one record for each photo. The
loop has one thread beside those of its models, so that a machine that is shared favours the
worker's slots. They take turns, each time on photos that nobody has seen.

With a GPU the networks are those that are for GPUs: x4plus and OpenCLIP, which is untrained unless
JUSTLENS_OPEN_CLIP_PRETRAINED names weights: they cost the same. Then there are two more baselines:
workers whose tasks run the networks on one image each, one task at a time and as many at a time as
there are slots.
"""

import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
from measuring import FULL, Entry, arguments, entry, machine, plots, report, versions

sys.path.append(str(Path(__file__).resolve().parents[1]))

from models.open_clip_source import Source
from models.open_clip_text import OpenClipText
from models.quality import noise_sigma
from pipeline.enhancement import carry_out, plan
from pipeline.imaging import Picture, decode, encode, perceptual_hash
from pipeline.queues import Stage
from pipeline.records import StageRecord
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores
from tests.fast_models import ENVIRONMENT as FREE

# Of the enhancement more, since the two are closer together there.
ROUNDS = {Stage.TAG: 6 if FULL else 2, Stage.ENHANCE: 6 if FULL else 3}
ROUNDS_ON_GPU = dict.fromkeys(ROUNDS, 6 if FULL else 2)
LIMIT_S = 300
# Photos of a round, and how many of them warm up.
COUNTS = {Stage.TAG: (240, 40) if FULL else (72, 16), Stage.ENHANCE: (48, 16) if FULL else (32, 8)}
# As many as they are enlarged by the policy, or left as they are.
SIZES = {Stage.TAG: ((1280, 720), (1000, 1280)), Stage.ENHANCE: ((320, 240), (240, 320))}
GATHERED = (Stage.ENHANCE, Stage.UPDATE)

ON_GPU = {
    "JUSTLENS_ENHANCER": "x4plus",
    "JUSTLENS_BATCH_SIZE": "8",
    "JUSTLENS_IMAGE_TEXT_ENCODER": "open_clip",
    "JUSTLENS_IMAGE_TEXT_BATCH_SIZE": "16",
    # As many photos as there are slots.
    "JUSTLENS_PIXELS_IN_FLIGHT": "100_000_000",
}
SLOTS_ON_GPU = {Stage.TAG: 48, Stage.ENHANCE: 24}
COUNTS_ON_GPU = {Stage.TAG: (240, 48), Stage.ENHANCE: (160, 32)}
WORKER, PLAIN, ONE, UNSHARED = "worker", "plain loop", "a task at a time", "no batches"
ONE_IMAGE = {"JUSTLENS_BATCH_SIZE": "1", "JUSTLENS_IMAGE_TEXT_BATCH_SIZE": "1"}


def photos(stage: Stage, count: int, seed: int) -> list[bytes]:
    """Different photos as JPEG: crops of one of a cat, enlarged, with a little noise."""
    random = np.random.default_rng(seed)
    cat = skimage.data.chelsea()
    found = []
    for number in range(count):
        width, height = SIZES[stage][number % 2]
        top, left = random.integers(0, 100, 2)
        shown = Picture(cat[top : top + 200, left : left + 300 * width // max(width, height)])
        whole = carry_out(
            replace(
                plan(1, 1, 0, force=False, scales=(2,), settings=Settings()),
                scale=1,
                width=width,
                height=height,
                action="enhanced",
            ),
            shown,
            lambda rgb, _: rgb,
        )
        rgb = whole.rgb + random.integers(0, 3, whole.rgb.shape, dtype=np.uint8)
        found.append(encode(Picture(rgb))[0])
    return found


class Site:
    """A data folder of its own, and workers on it."""

    def __init__(self, place: Path, **environment: str) -> None:
        self.environment = {
            **os.environ,
            "JUSTLENS_DATA_DIR": str(place / "var"),
            "OMP_WAIT_POLICY": "passive",
            **environment,
        }
        self.settings = Settings(data_dir=place / "var")
        self.stores: Stores = open_stores(self.settings)

    @contextmanager
    def worker(self, *queues: Stage, slots: int = 0, **environment: str) -> Iterator[None]:
        """A worker of these queues, of its usual number of slots or of so many, is in the block."""
        command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--loglevel", "ERROR"]
        names = ",".join(queue.value for queue in queues)
        chosen = ["--concurrency", str(slots)] if slots else []
        process = subprocess.Popen(
            [*command, "-Q", names, "-n", f"{queues[0].value}@bench", *chosen],
            env={**self.environment, **environment},
            stdout=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)

    def take_in(self, contents: Sequence[bytes]) -> None:
        """Send the photos, as an upload does."""
        code = (
            "import sys, pickle; from pipeline.graph import Sender; from tasks import app;"
            "from pipeline.ingest import Intake; from pipeline.settings import Settings;"
            "from pipeline.stores import open_stores; s = Settings(); t = open_stores(s);"
            "i = Intake(t, s, Sender(app));"
            "c = pickle.load(sys.stdin.buffer);"
            "[i.accept_bytes('shop', n + 1, one) for n, one in enumerate(c)]"
        )
        subprocess.run(
            [sys.executable, "-c", code],
            env=self.environment,
            input=pickle.dumps(list(contents)),
            check=True,
        )

    def ended(self, stage: Stage, count: int) -> list[float]:
        """When the stage ended for each photo, in order; waits for all."""
        until = time.monotonic() + LIMIT_S
        keys = [("shop", number + 1) for number in range(count)]
        while time.monotonic() < until:
            known = self.stores.documents.metadata(keys)
            records = [found.stages.get(stage.value) for found in known.values()]
            if failed := [one.detail for one in records if one and one.outcome == "failed"]:
                raise SystemExit(f"error: {stage.value} failed: {failed[0]}")
            times = [record.ended_at for record in records if record is not None]
            if len(times) == count:
                return sorted(times)
            time.sleep(0.5)
        raise SystemExit(f"error: {stage.value} did not end within {LIMIT_S} s")


def by_worker(
    stage: Stage, contents: Sequence[bytes], warm: int, slots: int = 0, **environment: str
) -> float:
    """Photos a second of the worker."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), **environment)
        with closing(site.stores), EmbeddedServer(site):
            site.take_in(contents)
            if stage is Stage.TAG:
                # They are large enough: nothing is enhanced, the tag queue fills.
                with site.worker(*GATHERED, **FREE):  # type: ignore[arg-type]  # no slots there
                    site.ended(Stage.UPDATE, len(contents))
            with site.worker(stage, slots=slots):
                times = site.ended(stage, len(contents))
    return (len(times) - warm) / (times[-1] - times[warm - 1])


class EmbeddedServer:
    """The broker of a site, for as long as the block."""

    def __init__(self, site: Site) -> None:
        from pipeline.broker import EmbeddedBroker

        site.settings.data_dir.mkdir(parents=True, exist_ok=True)
        self._broker = EmbeddedBroker(site.settings)

    def __enter__(self) -> "EmbeddedServer":
        self._broker.ensure()
        return self

    def __exit__(self, *_: object) -> None:
        self._broker.stop()


def by_loop(stage: Stage, contents: Sequence[bytes], warm: int, runtime: Any) -> float:
    """Photos a second of the plain loop."""
    work = tag_batch if stage is Stage.TAG else enhance_batch
    here = runtime.settings
    size = here.image_text_batch_size if stage is Stage.TAG else here.batch_size
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        with closing(site.stores) as stores:
            for number, content in enumerate(contents):
                stores.objects.put(f"originals/{number}.jpg", content)
            began = 0.0
            for start in range(0, len(contents), size):
                if start >= warm and not began:
                    began, first = time.perf_counter(), start
                numbers = range(start, min(start + size, len(contents)))
                batch = [(n, stores.objects.get(f"originals/{n}.jpg")) for n in numbers]
                work(batch, runtime, stores)
            return (len(contents) - first) / (time.perf_counter() - began)


def record(stores: Stores, number: int, kind: str, found: dict[str, Any]) -> None:
    """One write of what was found, as the stage writes what it found."""
    done = StageRecord(key="", outcome="done", ended_at=time.time())
    fact = {**found, "record": done.model_dump(mode="json")}
    stores.documents.save_pixel_fact(f"{number:064d}", kind, "plain", fact)


def tag_batch(batch: list[tuple[int, bytes]], runtime: Any, stores: Stores) -> None:
    """Embed, measure, look for people."""
    pictures = [decode(content, runtime.settings.max_pixels).on_white() for _, content in batch]
    embedded = runtime.model("image_text")(pictures)
    for (number, _), rgb, embedding in zip(batch, pictures, embedded, strict=True):
        found = {
            "labels": [asdict(label) for label in embedding.labels],
            "quality": asdict(runtime.model("quality")(rgb)),
            "hash": perceptual_hash(rgb),
            "people": runtime.model("detector")(rgb),
        }
        stores.vectors.save_image("plain", "picture", "shop", number, embedding.vector)
        record(stores, number, "tag", found)


def enhance_batch(batch: list[tuple[int, bytes]], runtime: Any, stores: Stores) -> None:
    """Decode, decide, enlarge together, encode, write."""
    enhancer = runtime.model("enhancer")
    settings = runtime.settings
    pictures = [decode(content, settings.max_pixels) for _, content in batch]
    plans = []
    for picture in pictures:
        noise = noise_sigma(cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2GRAY))
        size = picture.width, picture.height
        plans.append(plan(*size, noise, force=False, scales=enhancer.scales, settings=settings))
    enlarged: dict[int, np.ndarray] = {}
    for scale in {one.scale for one in plans}:
        chosen = [index for index, one in enumerate(plans) if one.scale == scale]
        results = enhancer([pictures[index].rgb for index in chosen], scale)
        enlarged.update(zip(chosen, results, strict=True))
    for index, (number, _) in enumerate(batch):
        result = carry_out(plans[index], pictures[index], partial(_already, enlarged[index]))
        content, _ = encode(result)
        stores.objects.put(f"enhanced/{hashlib.sha256(content).hexdigest()}.jpg", content)
        record(stores, number, "enhancement", {"width": result.width, "height": result.height})


def _already(enlarged: np.ndarray, rgb: np.ndarray, scale: int) -> np.ndarray:
    """What the batch gave for a picture, where the policy asks for it."""
    return enlarged


@contextmanager
def gpu_networks() -> Iterator[None]:
    """The settings of this process, and of those it starts, are for a GPU inside the block."""
    import open_clip
    import torch

    before = dict(os.environ)
    os.environ.update(ON_GPU)
    with tempfile.TemporaryDirectory() as folder:
        chosen = Settings()
        untrained = None
        if not chosen.open_clip_pretrained:
            torch.manual_seed(0)
            file = Path(folder, "untrained.pt")
            torch.save(open_clip.create_model(chosen.open_clip_model).state_dict(), file)
            os.environ["JUSTLENS_OPEN_CLIP_PRETRAINED"] = str(file)
            source = Source(chosen.open_clip_model, str(file))
            untrained = OpenClipText(weights=chosen.model_dir, threads=1, source=source)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            if untrained is not None:
                # Its texts mean nothing.
                shutil.rmtree(untrained.folder, ignore_errors=True)


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    import torch

    if not torch.cuda.is_available():
        measure(options)
        return
    with gpu_networks():
        measure(options, torch.cuda.get_device_name())


def measure(options: Namespace, gpu: str = "") -> None:
    """Measure all ways on a CPU, or on the GPU of that name, and report."""
    from tasks.runtime import Runtime

    where = {**machine(), **({"gpu": gpu} if gpu else {})}
    runtime = Runtime(Settings())
    rounds, counts = (ROUNDS_ON_GPU, COUNTS_ON_GPU) if gpu else (ROUNDS, COUNTS)
    names = {Stage.TAG: ("queue_image_text", 0.9), Stage.ENHANCE: ("queue_enhance", 0.95)}
    rates: dict[str, dict[str, list[float]]] = {}
    entries: list[Entry] = []
    for stage, (name, target) in names.items():
        count, warm = counts[stage]
        found: dict[str, list[float]] = {}
        for number in range(rounds[stage]):
            contents = photos(stage, count, number)
            turns = ways(stage, contents, warm, runtime, on_gpu=bool(gpu))
            for way in list(turns)[:: 1 if number % 2 else -1]:
                found.setdefault(way, []).append(turns[way]())
                print(f"  {name}, {way}: {found[way][-1]:.1f} photos/s", flush=True)
        suffix = "_gpu" if gpu else ""
        rates[name + suffix] = {way: found[way] for way in turns}
        for way, needed in {PLAIN: target, **({ONE: 3.0} if gpu else {})}.items():
            title = f"{name}{suffix}{'' if way == PLAIN else '_one'}"
            entries.append(entry(title, found[WORKER], found[way], "photos/s", "higher", needed))
    if options.plots:
        draw(rates, options.plots)
    results = {
        "machine": where,
        "versions": versions(("celery", "onnxruntime", "torch", "numpy")),
        "sizes": {
            "rounds": ", ".join(f"{stage.value} {rounds[stage]}" for stage in names),
            "photos": ", ".join(f"{stage.value} {counts[stage][0]}" for stage in names),
            "threads": runtime.settings.threads,
        },
        "photos_per_second": rates,
    }
    report("queues", results, (), options.json, entries)


def ways(
    stage: Stage, contents: Sequence[bytes], warm: int, runtime: Any, *, on_gpu: bool
) -> dict[str, Callable[[], float]]:
    """What is compared: each gives photos a second."""
    slots = SLOTS_ON_GPU[stage] if on_gpu else 0
    found: dict[str, Callable[[], float]] = {
        WORKER: partial(by_worker, stage, contents, warm, slots),
        PLAIN: partial(by_loop, stage, contents, warm, runtime),
    }
    if on_gpu:
        found[ONE] = partial(by_worker, stage, contents, warm, 1, **ONE_IMAGE)
        found[UNSHARED] = partial(by_worker, stage, contents, warm, slots, **ONE_IMAGE)
    return found


def draw(rates: dict[str, dict[str, list[float]]], folder: Path) -> None:
    """A figure for each queue: every round of worker and loop."""
    for name, found in rates.items():
        figure, axis = plots.subplots(figsize=(5, 1 + 0.5 * len(found)))
        for way, values in found.items():
            axis.plot(values, [way] * len(values), "o", alpha=0.7)
        axis.set_xlim(left=0)
        axis.set_ylim(-0.5, len(found) - 0.5)
        axis.set_xlabel("photos/s")
        axis.set_title(name)
        plots.save(figure, folder / f"{name}.svg")


if __name__ == "__main__":
    main()
