"""Which way a network runs fastest on this machine's CPU.

It depends on the processor, on the versions and on the network, so it is measured: once, for a few
seconds, and kept beside the weights. Reduced precision is not in the choice: what a photo becomes
would depend on the processor that it came to.
"""

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.enhancer.architectures import Architecture
from models.enhancer.ways import InOpenVINO, InTorch, Way

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

SIDE = 64
ROUNDS = 3

WAYS: dict[str, Callable[["torch.nn.Module", int, int], Way]] = {
    "contiguous_format": lambda network, scale, _: InTorch(network, scale, "contiguous_format"),
    "channels_last": lambda network, scale, _: InTorch(network, scale, "channels_last"),
    "openvino": InOpenVINO,
}
"""Each made of a network, its scale and the number of threads."""


def fastest(
    network: "torch.nn.Module", architecture: Architecture, weights: Path, threads: int
) -> Way:
    """The fastest way, as found before on a machine of this kind or measured now.

    `weights` is the folder of artefacts.
    """
    import torch

    situation = {
        "architecture": str(architecture),
        "torch": torch.__version__,
        "openvino": version("openvino"),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": threads,
    }
    digest = hashlib.sha256(json.dumps(situation, sort_keys=True).encode()).hexdigest()[:16]
    path = weights / "cpu-layouts" / f"{digest}.json"
    scale = architecture.scale
    try:
        return WAYS[json.loads(path.read_text())["fastest"]](network, scale, threads)
    except (OSError, ValueError, LookupError):
        seconds = measure(network, scale, threads)
    name = min(seconds, key=seconds.__getitem__)
    _keep(path, {"fastest": name, "seconds": seconds, **situation})
    return WAYS[name](network, scale, threads)


def measure(network: "torch.nn.Module", scale: int, threads: int) -> dict[str, float]:
    """Seconds of a forward pass in each way: the best of a few, taking turns, after one to warm up.

    The network is left in either layout.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    seconds = dict.fromkeys(WAYS, float("inf"))
    compiled = WAYS["openvino"](network, scale, threads)
    for number in range(ROUNDS + 1):
        for name, make in WAYS.items():
            # The two layouts share the network: it is brought into the one that is timed.
            way = compiled if name == "openvino" else make(network, scale, threads)
            began = time.perf_counter()
            way(pixels, scale)
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
        log.info("the way found fastest cannot be kept: %s", error)
