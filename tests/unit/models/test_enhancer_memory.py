"""An image of any size within the memory there is."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from models.enhancer import architectures, checkpoints, fastest
from models.enhancer.networks import Compact
from models.enhancer.runtimes import InNcnn, InOpenVINO, InTorch, Runtime
from models.errors import OutOfMemory
from tests.unit.models.test_enhancer_checkpoints import (
    SMALL,
    difference,
    enhancer,
    stored,
)

ROOT = Path(__file__).resolve().parents[3]
GIB = 2**30


class SmallDevice(torch.nn.Module):
    """The network on a device whose memory suffices for so many input px only."""

    def __init__(self, network: torch.nn.Module, pixels: int) -> None:
        super().__init__()
        self.network = network
        self.pixels = pixels
        self.asked: list[int] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.asked.append(batch.shape[0] * batch.shape[2] * batch.shape[3])
        if self.asked[-1] > self.pixels:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return self.network(batch)


def on_a_small_device(enhancer: Compact, pixels: int) -> SmallDevice:
    network = checkpoints.build(checkpoints.read(enhancer.file), enhancer.file)
    device = SmallDevice(network, pixels)
    run_in(enhancer, InTorch(device, enhancer.architecture.scale, "contiguous_format"))
    return device


def run_in(enhancer: Compact, runtime: Runtime) -> None:
    """Takes this runtime, whichever is the fastest here."""
    enhancer.load()
    enhancer._loaded = runtime


def test_out_of_memory_tiles_are_halved_and_the_image_goes_on(weights, compact, coffee) -> None:
    photo = coffee[100:300, 100:340]
    enhancer = Compact(weights=weights, threads=2, device="cpu")
    device = on_a_small_device(enhancer, 150 * 150)
    (result,) = enhancer([photo], 2)
    (whole,) = compact([photo], 2)
    assert device.asked[0] == 200 * 240
    assert np.abs(whole.astype(int) - result.astype(int)).max() <= 1
    # It has learnt: the next image is not tried at the size that failed.
    device.asked.clear()
    enhancer([photo[:, ::-1]], 2)
    assert max(device.asked) <= 150 * 150


def test_out_of_memory_a_batch_is_halved_before_its_tiles(weights, cat) -> None:
    enhancer = Compact(weights=weights, threads=2, device="cpu")
    device = on_a_small_device(enhancer, 64 * 64 * 2)
    enhancer.pixels_per_pass = 64 * 64 * 8
    enhancer.tile = 64
    photos = [cat[top : top + 64, :64] for top in range(0, 160, 20)]
    together = enhancer(photos, 2)
    assert device.asked == [64 * 64 * count for count in (8, 4, 2, 2, 2, 2)]
    for photo, result in zip(photos, together, strict=True):
        assert np.abs(result.astype(int) - enhancer([photo], 2)[0].astype(int)).max() <= 1


def test_when_not_even_the_smallest_tile_fits_it_says_so(weights, cat) -> None:
    enhancer = Compact(weights=weights, threads=2, device="cpu")
    on_a_small_device(enhancer, 0)
    with pytest.raises(OutOfMemory, match="smallest"):
        enhancer([cat], 2)


def peak(code: str, folder: Path) -> int:
    """Bytes that a process of its own takes at most while it runs the code."""
    # Not ru_maxrss: that begins with what the process of the tests has taken.
    ending = """
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])"""
    return int(printed(code + ending, folder).split()[-1]) * 1024


def printed(code: str, folder: Path) -> str:
    """What a process of its own prints that runs the code, and ends well."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={
            "HOME": str(Path.home()),
            "JUSTLENS_DATA_DIR": str(folder / "data"),
            "OMP_WAIT_POLICY": "passive",
            "PATH": "",
        },
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_twelve_megapixels_go_through_a_network_in_less_than_3_gib(tmp_path: Path) -> None:
    weights = stored(tmp_path, architectures.Compact(features=8, blocks=1, scale=2))
    used = peak(
        f"""
import numpy as np
import models
photo = np.full((3000, 4000, 3), 128, dtype=np.uint8)
enhancer = models.create("enhancer", "path:{weights}", weights="{tmp_path}", threads=2)
(result,) = enhancer([photo], 2)
assert result.shape == (6000, 8000, 3)
""",
        tmp_path,
    )
    assert used < 3 * GIB


def test_a_noisy_photo_of_twelve_megapixels_is_denoised_in_less_than_3_gib(tmp_path: Path) -> None:
    used = peak(
        f"""
import numpy as np
from pathlib import Path
from PIL import Image
from cli.enhance import enhance
noise = np.random.default_rng(0).normal(128, 20, (3000, 4000))
Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).convert("RGB").save("{tmp_path}/noisy.bmp")
del noise
enhance(Path("{tmp_path}/noisy.bmp"), Path("{tmp_path}/calm.jpg"), model="", image_type="general",
        force=False, raw=False, json_output=True)
with Image.open("{tmp_path}/calm.jpg") as calm:
    assert np.asarray(calm).std() < 12, np.asarray(calm).std()
""",
        tmp_path,
    )
    assert used < 3 * GIB


def test_the_fastest_runtime_is_measured_once_and_kept(tmp_path: Path, monkeypatch) -> None:
    # Other tests are busy beside this one.
    monkeypatch.setattr(fastest, "LONG_ENOUGH", float("inf"))
    path = stored(tmp_path, SMALL[0])
    checkpoint = checkpoints.read(path)

    def choose() -> Runtime:
        return fastest.choose(
            checkpoint, lambda: checkpoints.build(checkpoint, path), tmp_path, threads=2
        )

    choose()
    (kept,) = (tmp_path / "cpu-runtimes").iterdir()
    found = json.loads(kept.read_text())
    assert found["fastest"] == fastest.taken(found["seconds"])
    assert len(found["seconds"]) == 4
    monkeypatch.setattr(fastest, "measure", lambda *_: pytest.fail("measured again"))
    kinds = {"openvino": InOpenVINO, "ncnn": InNcnn, "torch channels_last": InTorch}
    for name, kind in kinds.items():
        kept.write_text(json.dumps(found | {"fastest": name}))
        assert isinstance(choose(), kind)


@pytest.mark.parametrize(
    ("seconds", "name"),
    [
        ({"torch channels_last": 2.0, "openvino": 1.7, "ncnn": 1.5}, "openvino"),
        ({"torch channels_last": 1.5, "openvino": 2.0, "ncnn": 1.6}, "torch channels_last"),
        ({"torch contiguous_format": 2.0, "torch channels_last": 1.9}, "torch channels_last"),
    ],
    ids=["about as fast, in less memory", "slower", "a network for torch alone"],
)
def test_the_fastest_is_taken_or_openvino_where_that_is_about_as_fast(
    seconds: dict[str, float], name: str
) -> None:
    assert fastest.taken(seconds) == name


class Computes(Runtime):
    """Takes seconds, for a share of which one of its threads waits for a processor."""

    def __init__(self, clock: "Clock", seconds: float, waiting: float) -> None:
        self.clock, self.seconds, self.waiting = clock, seconds, waiting

    def enlarge(self, passes, scale):
        self.clock.now += self.seconds
        self.clock.waited += self.seconds * self.waiting
        yield from passes


class Clock:
    now = waited = 0.0

    def perf_counter(self) -> float:
        return self.now

    def waits(self) -> dict[str, float]:
        return {"one that waited earlier": 5.0, "one that computes": self.waited}


@pytest.mark.parametrize(
    ("seconds", "waiting", "threads", "disturbed"),
    [(0.5, 0.02, 2, False), (0.5, 0.3, 2, True), (0.05, 0.3, 2, False), (0.5, 0.3, 1, False)],
    ids=["alone", "beside others", "too short to tell", "a thread that waits for no other"],
)
def test_a_measurement_tells_whether_others_took_the_processor(
    monkeypatch, seconds: float, waiting: float, threads: int, disturbed: bool
) -> None:
    clock = Clock()
    monkeypatch.setattr(fastest, "time", clock)
    monkeypatch.setattr(fastest, "waits", clock.waits)
    slow, fast = Computes(clock, 0.6, 0.0), Computes(clock, seconds, waiting)
    found = fastest.measure({"slow": lambda: slow, "fast": lambda: fast}, 4, threads)
    assert found.is_disturbed == disturbed
    assert found.seconds == pytest.approx({"slow": 0.6, "fast": seconds})


def test_a_runtime_that_is_far_behind_takes_no_further_turns(monkeypatch) -> None:
    clock = Clock()
    monkeypatch.setattr(fastest, "time", clock)
    monkeypatch.setattr(fastest, "waits", clock.waits)
    runtimes = {
        "fastest": Computes(clock, 0.5, 0.0),
        "behind": Computes(clock, 0.7, 0.0),
        "far behind": Computes(clock, 1.0, 0.0),
        "disturbed": Computes(clock, 1.0, 0.3),
    }
    turns = dict.fromkeys(runtimes, 0)

    def turn(name: str) -> Runtime:
        turns[name] += 1
        return runtimes[name]

    fastest.measure({name: partial(turn, name) for name in runtimes}, 4, 2)
    assert turns == {
        "fastest": fastest.ROUNDS + 1,
        "behind": fastest.ROUNDS + 1,
        "far behind": 2,
        "disturbed": fastest.ROUNDS + 1,
    }


class BesideOtherThreads(Runtime):
    """Computes for a while, as another thread of this process does on each processor."""

    def enlarge(self, passes, scale):
        block, done = bytes(2**20), threading.Event()

        def compute(processor: int) -> None:
            os.sched_setaffinity(0, {processor})
            while not done.is_set():
                # Which it does without the interpreter.
                hashlib.sha256(block)

        processors = os.sched_getaffinity(0)
        others = [threading.Thread(target=compute, args=(one,)) for one in processors]
        for other in others:
            other.start()
        began = time.perf_counter()
        while time.perf_counter() - began < 1.5 * fastest.LONG_ENOUGH:
            hashlib.sha256(block)
        done.set()
        for other in others:
            other.join()
        yield from passes


def test_work_of_other_threads_of_this_process_disturbs_a_measurement() -> None:
    found = fastest.measure(
        {"one": BesideOtherThreads}, 4, threads=len(os.sched_getaffinity(0)) + 1
    )
    assert found.is_disturbed


def test_what_was_measured_beside_others_is_measured_again(tmp_path: Path, monkeypatch) -> None:
    path = stored(tmp_path, SMALL[0])
    checkpoint = checkpoints.read(path)
    seconds = {"torch contiguous_format": 3.0, "torch channels_last": 2.0, "ncnn": 1.0}
    measured = iter([fastest.Measured(seconds, True), fastest.Measured(seconds, False)])
    monkeypatch.setattr(fastest, "measure", lambda *_: next(measured))
    kept = []
    for _ in range(3):
        chosen = fastest.choose(
            checkpoint, lambda: checkpoints.build(checkpoint, path), tmp_path, threads=2
        )
        assert isinstance(chosen, InNcnn)
        kept.append(len(list(tmp_path.glob("cpu-runtimes/*"))))
    assert kept == [0, 1, 1]


@pytest.mark.parametrize("architecture", SMALL, ids=str)
def test_only_compact_networks_are_tried_elsewhere_than_in_torch(
    tmp_path: Path, architecture
) -> None:
    path = stored(tmp_path, architecture)
    checkpoint = checkpoints.read(path)
    fastest.choose(checkpoint, lambda: checkpoints.build(checkpoint, path), tmp_path, threads=1)
    (kept,) = (tmp_path / "cpu-runtimes").iterdir()
    tried = json.loads(kept.read_text())["seconds"]
    for name in ("openvino", "ncnn"):
        assert (name in tried) == isinstance(architecture, architectures.Compact)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_photo_comes_out_the_same_in_each_runtime(weights, coffee, scale) -> None:
    # Sizes that are cut and sizes that are not, some together in a pass.
    photos = [coffee[:120, :90], coffee[60:180, 100:190], coffee[100:340, 100:420], coffee[:1, :1]]
    path = Compact(weights=weights, threads=2).file
    checkpoint = checkpoints.read(path)
    runtimes = (
        InTorch(checkpoints.build(checkpoint, path), 4, "contiguous_format"),
        InOpenVINO(checkpoint, 2),
        InNcnn(checkpoint, 2),
    )
    found = []
    for runtime in runtimes:
        enhancer = Compact(weights=weights, threads=2, device="cpu", tile=200)
        run_in(enhancer, runtime)
        found.append(enhancer(photos, scale))
    for in_torch, in_openvino, in_ncnn in zip(*found, strict=True):
        assert difference(in_torch, in_openvino) <= 1
        assert difference(in_torch, in_ncnn) <= 1


def test_threads_of_ncnn_share_a_single_photo_and_take_one_each_of_several(
    weights, coffee, monkeypatch
) -> None:
    enhancer = Compact(weights=weights, threads=2, device="cpu")
    run_in(enhancer, InNcnn(checkpoints.read(enhancer.file), 2))
    tiles = []
    compute = InNcnn._tile
    monkeypatch.setattr(
        InNcnn, "_tile", lambda *given: tiles.append(given[1].shape) or compute(*given)
    )
    enhancer([coffee[:160, :240]], 4)
    assert sorted(tiles) == [(160, 140, 3)] * 2
    tiles.clear()
    enhancer([coffee[:160, :240], coffee[:240, :160]], 4)
    assert sorted(tiles) == [(160, 240, 3), (240, 160, 3)]


@pytest.mark.parametrize("name", ["openvino", "ncnn"])
def test_torch_is_not_imported_where_another_runtime_was_found_the_fastest(
    weights, tmp_path: Path, monkeypatch, name: str
) -> None:
    path = Compact(weights=weights, threads=2).file
    checkpoint = checkpoints.read(path)
    monkeypatch.setattr(fastest, "measure", lambda *_: fastest.Measured({name: 1.0}, False))
    fastest.choose(checkpoint, lambda: checkpoints.build(checkpoint, path), tmp_path, threads=2)
    peak(
        f"""
import sys
import numpy as np
import models
enhancer = models.create(
    "enhancer", "path:{path}", weights="{tmp_path}", threads=2, device="cpu"
)
(result,) = enhancer([np.zeros((50, 60, 3), np.uint8)], 4)
assert result.shape == (200, 240, 3)
assert "torch" not in sys.modules
""",
        tmp_path,
    )


def test_a_signal_finds_its_handler_once_openvino_is_gone(weights, tmp_path: Path) -> None:
    path = Compact(weights=weights, threads=2).file
    code = f"""
import gc, os, signal, threading
from pathlib import Path
import numpy as np
from models.enhancer import checkpoints, openvino
from models.enhancer.runtimes import InOpenVINO
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
loaded = [InOpenVINO(checkpoints.read(Path("{path}")), 2)]
list(loaded[0].enlarge([np.zeros((1, 20, 30, 3), np.uint8)], 4))
def drop():
    loaded.clear()
    openvino._core.cache_clear()
    gc.collect()
dropping = threading.Thread(target=drop)
dropping.start()
dropping.join()
os.kill(os.getpid(), signal.SIGTERM)
print("went on")
"""
    assert printed(code, tmp_path).split("\n") == ["handled", "went on", ""]


def test_a_folder_that_cannot_be_written_to_costs_only_a_measurement(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    made = enhancer(stored(tmp_path, SMALL[0]), file)
    assert made([np.zeros((8, 8, 3), np.uint8)], 4)[0].shape == (32, 32, 3)
