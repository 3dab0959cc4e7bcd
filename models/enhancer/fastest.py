"""Which runtime, and which memory layout in it, runs a network fastest on this machine's CPU.

It depends on the processor, on the versions and on the network, so it is measured: once, for a
fraction of a second or a few, and kept beside the weights. Where other work takes the processor
meanwhile, be it another program's or this one's, a runtime whose threads share each layer seems
slower than it is, since they wait for one another: that is not kept, and the next start measures
again. Reduced precision is not in the choice: bfloat16 is several times slower on most CPUs, and
its results are others.
"""

import hashlib
import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.enhancer.architectures import Compact
from models.enhancer.checkpoints import Checkpoint
from models.enhancer.runtimes import InNcnn, InOpenVINO, InTorch, Runtime

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

TILE = (64, 64)
"""What is measured, px; enough to tell torch's layouts apart."""
TILE_OF_COMPACT = (300, 400)
"""As photos are cut. ncnn is at its best with tiles that a processor's cache holds, which those are
not."""
ROUNDS = 3
FAR_BEHIND = 1.5
"""Times the seconds of the fastest so far: who takes more is not measured further."""
AS_GOOD = 1.2
"""Times the seconds of the fastest that OpenVINO may take. It has half of the others' memory, and
does not depend on who shares the processor's caches: ncnn, ahead by 1.17 at one time, was behind by
1.13 at another."""
QUIET = 0.1
"""Share of a round for which a thread waits for a processor at most where nobody else needs it."""
LONG_ENOUGH = 0.1
"""Seconds of a round; the share of shorter ones says nothing."""
THREADS = Path("/proc/self/task")


Candidates = dict[str, Callable[[], Runtime]]


class Measured(NamedTuple):
    """Seconds of each candidate, and whether others took the processor meanwhile."""

    seconds: dict[str, float]
    is_disturbed: bool


def choose(
    checkpoint: Checkpoint, build: Callable[[], "torch.nn.Module"], weights: Path, threads: int
) -> Runtime:
    """The fastest runtime, as found before on a machine of this kind or measured now.

    `build` makes the checkpoint's network in torch, which is not imported where another runtime was
    found to be the fastest. `weights` is the folder of artefacts.
    """
    situation = {
        "architecture": str(checkpoint.architecture),
        "versions": {name: version(name) for name in ("torch", "openvino", "ncnn")},
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
    }
    digest = hashlib.sha256(json.dumps(situation, sort_keys=True).encode()).hexdigest()[:16]
    path = weights / "cpu-runtimes" / f"{digest}.json"
    candidates = _candidates(checkpoint, cache(build), threads)
    try:
        make = candidates[json.loads(path.read_text())["fastest"]]
    except (OSError, ValueError, LookupError):
        seconds, is_disturbed = measure(candidates, checkpoint.architecture.scale, threads)
        name = taken(seconds)
        if is_disturbed:
            log.info("others are busy here: which runtime is the fastest is measured again")
        else:
            _keep(path, {"fastest": name, "seconds": seconds, **situation})
        make = candidates[name]
    return make()


def _candidates(
    checkpoint: Checkpoint, build: Callable[[], "torch.nn.Module"], threads: int
) -> Candidates:
    architecture = checkpoint.architecture
    found: Candidates = {
        f"torch {layout}": partial(_in_torch, build, architecture.scale, layout)
        for layout in ("contiguous_format", "channels_last")
    }
    if isinstance(architecture, Compact):
        found["openvino"] = cache(partial(InOpenVINO, checkpoint, threads))
        found["ncnn"] = cache(partial(InNcnn, checkpoint, threads))
    return found


def _in_torch(build: Callable[[], "torch.nn.Module"], scale: int, layout: str) -> Runtime:
    return InTorch(build(), scale, layout)


def measure(candidates: Candidates, scale: int, threads: int) -> Measured:
    """What each takes for a few tiles: the best of a few rounds, taking turns, after a first one.

    One that is far behind takes no further turns, if nobody disturbed it.
    """
    # As many tiles as threads where a runtime gives each one of its own.
    count, shape = (threads, TILE_OF_COMPACT) if "ncnn" in candidates else (1, TILE)
    tile = np.random.default_rng(0).integers(0, 256, (1, *shape, 3), dtype=np.uint8)
    tiles = [tile] * count
    seconds = dict.fromkeys(candidates, float("inf"))
    waiting = dict.fromkeys(candidates, float("inf"))
    measured = candidates
    for number in range(ROUNDS + 1):
        for name, make in measured.items():
            # torch's share the network, which is brought into the layout that is timed.
            runtime = make()
            before, began = waits(), time.perf_counter()
            for _ in runtime.enlarge(tiles, scale):
                pass
            took = time.perf_counter() - began
            waited = [now - before.get(thread, 0.0) for thread, now in waits().items()]
            if number:
                seconds[name] = min(seconds[name], took)
                waiting[name] = min(waiting[name], max(waited, default=0.0) / took)
        if number:
            most = FAR_BEHIND * min(seconds.values())
            measured = {
                name: make
                for name, make in measured.items()
                if seconds[name] <= most or waiting[name] > QUIET
            }
    is_disturbed = threads > 1 and any(
        seconds[name] > LONG_ENOUGH and waiting[name] > QUIET for name in candidates
    )
    return Measured(seconds, is_disturbed)


def taken(seconds: Mapping[str, float]) -> str:
    """The fastest, or OpenVINO where that is about as fast."""
    fastest = min(seconds, key=seconds.__getitem__)
    as_good = seconds.get("openvino", float("inf")) <= AS_GOOD * seconds[fastest]
    return "openvino" if as_good else fastest


def waits() -> dict[str, float]:
    """For how long each thread of this process was ready and had no processor, seconds so far.

    What they computed would not tell: other work in this process adds to it, and on many cores
    threads often have nothing to compute. Where the system does not say it, nothing is found.
    """
    found = {}
    with suppress(FileNotFoundError):
        for thread in os.listdir(THREADS):
            # One that has ended meanwhile has no file.
            with suppress(FileNotFoundError, ProcessLookupError):
                schedstat = (THREADS / thread / "schedstat").read_text()
                found[thread] = int(schedstat.split()[1]) / 1e9
    return found


def _processor() -> str:
    """The processor's model, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = ("vendor_id", "cpu family", "model", "model name", "CPU implementer", "CPU part")
    fields = (line.partition(":") for line in lines)
    found = [value.strip() for name, _, value in fields if name.strip() in named]
    return " ".join(found) or platform.machine()


def _keep(path: Path, finding: dict[str, object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(finding, file)
        Path(file.name).replace(path)
    except OSError as error:
        # A folder that only others may write to: the next process measures again.
        log.info("the runtime found fastest cannot be kept: %s", error)
