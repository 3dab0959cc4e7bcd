"""``justlens finetune-enhancer``."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from rich.progress import Progress

from cli.ingest import photo_files
from cli.output import out as output
from cli.output import print_json, progress
from models.enhancer import checkpoints
from models.enhancer.finetune import Finetuning, Losses, Recipe
from models.enhancer.networks import NetworkEnhancer
from models.errors import ModelError
from pipeline.errors import JustLensError, UndecodableImage
from pipeline.imaging import decode
from pipeline.settings import Settings, settings
from tasks.runtime import Runtime


def finetune(
    folder: Path,
    *,
    out: Path,
    start: str,
    steps: int,
    crop: int,
    batch: int,
    checkpoint_every: int,
    vgg: Path | None,
    json_output: bool,
) -> None:
    """Train, or go on with a training, and say how its weights are used."""
    chosen = settings()
    began = time.perf_counter()
    try:
        enhancer = _start(start, chosen)
        recipe = Recipe(enhancer.identity, crop=crop, batch=batch, vgg=str(vgg or ""))
        last: Losses = {}
        with progress() as bars:
            training = Finetuning(
                checkpoints.read(enhancer.file),
                recipe,
                _large_enough(photo_files(folder), crop, chosen, bars),
                lambda path: _read(path, chosen),
                out,
            )
            done_before = training.steps_done
            bar = bars.add_task("training", total=max(steps, done_before), note="")
            bars.update(bar, completed=done_before)

            def show(step: int, losses: Losses) -> None:
                nonlocal last
                last = losses
                note = f"pixel {losses['l_g_pix']:.4f}, adversarial {losses['l_g_gan']:.4f}"
                bars.update(bar, completed=step, note=note)

            training.run(steps, checkpoint_every, show)
    except ModelError as error:
        raise JustLensError(str(error)) from error
    weights = training.weights.absolute()
    if json_output:
        result = {
            "weights": str(weights),
            "enhancer": f"path:{weights}",
            "steps": training.steps_done,
            "steps_before": done_before,
            "losses": dict(last),
            "seconds": round(time.perf_counter() - began, 1),
        }
        print_json(result)
        return
    before = f" ({done_before} of them before)" if done_before else ""
    output.print(f"{training.steps_done} steps{before}; use it with", highlight=False)
    output.print(f"  JUSTLENS_ENHANCER=path:{weights}", highlight=False, soft_wrap=True)


def _start(name: str, chosen: Settings) -> NetworkEnhancer:
    """The enhancer to start from; its weights as they are, without any interpolation."""
    plain = chosen.model_copy(update={"enhancer": name, "weak_denoise": ""})
    enhancer = Runtime(plain).model("enhancer")
    if not isinstance(enhancer, NetworkEnhancer):
        raise JustLensError(f"{name} is not a network that can be trained here")
    return enhancer


def _large_enough(paths: Sequence[Path], crop: int, chosen: Settings, bars: Progress) -> list[Path]:
    """The files that are photos, and that a crop fits into.

    Each is decoded once: a damaged one must not end a training hours later.
    """
    found = []
    bar = bars.add_task("looking at photos", total=len(paths), note="")
    for path in paths:
        with suppress(UndecodableImage):
            if min(_read(path, chosen).shape[:2]) >= crop:
                found.append(path)
        bars.update(bar, advance=1, note=f"{len(found)} large enough")
    return found


def _read(path: Path, chosen: Settings) -> np.ndarray:
    return decode(path.read_bytes(), chosen.max_pixels).on_white()
