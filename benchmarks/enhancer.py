"""Claim: any photo is enhanced in bounded memory, as fast as the network alone or faster.

Baseline: what one would write first, a loop over the photos with basicsr's network in fp32, each
photo whole. Every way runs in a process of its own, so that its peak memory is its own. On a GPU
half precision is compared with full precision, too: its speed, and how far its results are away.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from measuring import arguments, machine, ratio, report, versions

from models.enhancer import checkpoints
from models.enhancer.networks import PackagedEnhancer
from models.registry import create
from pipeline.settings import Settings

PHOTOS = {"cpu": 6, "cuda": 20}
# Sides of photos as directories hold them; the last is the largest that the policy enlarges.
SIZES = ((320, 240), (240, 320), (400, 300), (480, 320), (333, 222), (1000, 700))
NAMES = {"cpu": ("compact",), "cuda": ("compact", "x4plus")}
ROUNDS = 2
SCALE = 4


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


def measure(way: str, name: str, device: str, target: Path) -> None:
    """Run one way in this process; writes results and figures into the folder ``target``."""
    import torch

    pictures = photos(PHOTOS[device])
    if way == "plain":

        def run() -> list[np.ndarray]:
            return plain_loop(name, device, pictures)

    else:
        enhancer = _enhancer(name, device, half=way == "enhancer")

        def run() -> list[np.ndarray]:
            return enhancer(pictures, SCALE)

    results = run()
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        results = run()
        seconds.append(time.perf_counter() - began)
    np.savez(target / "results.npz", *results)
    on_gpu = device == "cuda"
    figures = {
        "seconds": seconds,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "gpu_peak_gib": torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
    }
    (target / "figures.json").write_text(json.dumps(figures))


def in_a_process(way: str, name: str, device: str) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Figures and results of one way, run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--measure", way, name, device, folder]
        subprocess.run(command, check=True)
        with np.load(f"{folder}/results.npz") as stored:
            results = [stored[key] for key in stored.files]
        return json.loads(Path(folder, "figures.json").read_text()), results


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
    ways = ("plain", "enhancer", "enhancer fp32") if device == "cuda" else ("plain", "enhancer")
    found: dict[str, Any] = {
        "machine": where,
        "versions": {**versions(("torch", "numpy")), "basicsr": version("basicsr")},
        "sizes": {"photos": count, "scale": SCALE, "rounds": ROUNDS, "threads": Settings().threads},
    }
    lines = []
    for name in NAMES[device]:
        figures, results = {}, {}
        for way in ways:
            figures[way], results[way] = in_a_process(way, name, device)
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
        spread = found[name]["time_to_plain"]
        lines.append(
            f"{name} time, enhancer to plain: {spread['ratio']:.2f} "
            f"({spread['low']:.2f} to {spread['high']:.2f})"
        )
    report("enhancer", found, lines, options.json)


if __name__ == "__main__":
    if "--measure" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--measure", nargs=4)
        way, name, device, folder = parser.parse_args().measure
        measure(way, name, device, Path(folder))
    else:
        main()
