"""Which memory layout a network runs fastest in on this machine's CPU.

It depends on the processor, on torch and on the network, so it is measured: once, for a fraction of
a second or a few, and kept beside the weights. Reduced precision is not in the choice: bfloat16 is
several times slower on most CPUs, and its results are others.
"""

import hashlib
import json
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from models.enhancer.architectures import Architecture

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

LAYOUTS = ("contiguous_format", "channels_last")
SIDE = 64
ROUNDS = 3


def fastest(
    network: "torch.nn.Module", architecture: Architecture, weights: Path
) -> "torch.memory_format":
    """The faster layout, as found before on a machine of this kind or measured now.

    Uses the number of threads that torch is set to. `weights` is the folder of artefacts.
    """
    import torch

    situation = {
        "architecture": str(architecture),
        "torch": torch.__version__,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    digest = hashlib.sha256(json.dumps(situation, sort_keys=True).encode()).hexdigest()[:16]
    path = weights / "cpu-layouts" / f"{digest}.json"
    try:
        name = json.loads(path.read_text())["fastest"]
    except (OSError, ValueError, LookupError):
        seconds = measure(network)
        name = min(seconds, key=seconds.__getitem__)
        _keep(path, {"fastest": name, "seconds": seconds, **situation})
    chosen: torch.memory_format = getattr(torch, name)
    return chosen


def measure(network: "torch.nn.Module") -> dict[str, float]:
    """Seconds of a forward pass in each layout: the best of a few, taking turns, after one to warm
    up. The network is left in either."""
    import torch

    # Of 3 channels and several px a side, so that the layouts are told apart.
    pixels = torch.rand((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    seconds = dict.fromkeys(LAYOUTS, float("inf"))
    with torch.inference_mode():
        for number in range(ROUNDS + 1):
            for name in LAYOUTS:
                layout = getattr(torch, name)
                network.to(memory_format=layout)
                given = pixels.contiguous(memory_format=layout)
                began = time.perf_counter()
                network(given)
                if number:
                    seconds[name] = min(seconds[name], time.perf_counter() - began)
    return seconds


def _keep(path: Path, finding: dict[str, object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(finding, file)
        Path(file.name).replace(path)
    except OSError as error:
        # A folder that only others may write to: the next process measures again.
        log.info("the layout found fastest cannot be kept: %s", error)
