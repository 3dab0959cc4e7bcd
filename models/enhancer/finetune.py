"""Trains an enhancer further on photos of one's own, with basicsr's SRGAN.

The generator learns to regain crops of good photos from poor versions of them (`degradation`); a
discriminator learns to tell its results from the crops (Ledig et al. 2017, arXiv:1609.04802; losses
and their weights as in Real-ESRGAN, arXiv:2107.10833).

A run is a folder: `recipe.json`, `losses.jsonl` with a line for each step, the latest checkpoint,
and `weights.pth`, which is an enhancer. A killed run goes on from its checkpoint, with the crops
that it would have seen: what a step sees is drawn from the seed and the step's number alone.
"""

import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.enhancer.basicsr_networks import submodule
from models.enhancer.checkpoints import Checkpoint
from models.enhancer.degradation import degrade
from models.errors import UnsuitableInput, WeightsMissing

SMALLEST_CROP_STEP = 8
"""The discriminator halves sides three times."""

PERCEPTUAL_LAYERS = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1, "conv4_4": 1, "conv5_4": 1}

Losses = Mapping[str, float]


@dataclass(frozen=True)
class Recipe:
    """What makes a run the run that it is: a folder goes on with the same one only.

    Attributes
    ----------
    start:
        Identity of the enhancer that the training starts from.
    crop:
        Side of the crops to be regained, px.
    batch:
        Crops in a step.
    seed:
        Of everything that is drawn.
    learning_rate:
        Of Adam, for both networks.
    pixel_weight, adversarial_weight:
        Of the mean absolute error and of the discriminator's verdict in the generator's loss.
    averaging:
        Decay of the exponential moving average of the generator, which is what is used in the end.
    vgg:
        File of torchvision's VGG19 weights, for a perceptual loss; empty: without.
    """

    start: str
    crop: int = 128
    batch: int = 4
    seed: int = 0
    learning_rate: float = 1e-4
    pixel_weight: float = 1.0
    adversarial_weight: float = 0.1
    averaging: float = 0.999
    vgg: str = ""


class Finetuning:
    """One run.

    Parameters
    ----------
    checkpoint:
        The weights that it starts from.
    photos:
        Good photos, none smaller than a crop.
    read:
        Decodes one of them into RGB uint8 of shape (height, width, 3).
    folder:
        Of the run; made if absent.

    Raises `UnsuitableInput` for a recipe that cannot work, or another one than the folder's.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        recipe: Recipe,
        photos: Sequence[Path],
        read: Callable[[Path], np.ndarray],
        folder: Path,
    ) -> None:
        self.folder = folder
        self.weights = folder / "weights.pth"
        self._start = checkpoint
        self._scale = checkpoint.architecture.scale
        self._recipe = recipe
        self._photos = photos
        self._read = read
        step = np.lcm(SMALLEST_CROP_STEP, self._scale * checkpoint.architecture.multiple_of)
        if recipe.crop < 1 or recipe.crop % step:
            raise UnsuitableInput(f"a crop of {recipe.crop} px: it must be a multiple of {step}")
        if recipe.batch < 1:
            raise UnsuitableInput(f"a batch of {recipe.batch}: it must be at least 1")
        if not photos:
            raise UnsuitableInput(f"no photo is as large as a crop, {recipe.crop} px")
        if recipe.vgg and not Path(recipe.vgg).is_file():
            raise WeightsMissing(f"there is no file {recipe.vgg} of VGG19's weights")
        self._keep_recipe()

    @property
    def steps_done(self) -> int:
        """Up to the latest checkpoint."""
        return max((int(path.name) for path in self._checkpoints()), default=0)

    def run(
        self,
        steps: int,
        checkpoint_every: int,
        on_step: Callable[[int, Losses], object] = lambda step, losses: None,
    ) -> None:
        """Train up to step number `steps`, counted from the start of the run.

        Parameters
        ----------
        checkpoint_every:
            Steps between two checkpoints; there is one at the end, too.
        on_step:
            Told the number of each step that is done, and its losses.

        Raises `UnsuitableInput` when another process trains in the folder.
        """
        with self._alone(), ThreadPoolExecutor(1) as ahead:
            done = self.steps_done
            if done >= steps:
                return
            model = self._model(done)
            self._forget_losses_after(done)
            upcoming = ahead.submit(self._crops, done + 1)
            with (self.folder / "losses.jsonl").open("a") as losses:
                for step in range(done + 1, steps + 1):
                    crops = upcoming.result()
                    if step < steps:
                        upcoming = ahead.submit(self._crops, step + 1)
                    with warnings.catch_warnings():
                        # Resumed, basicsr's scheduler steps before the optimizer has.
                        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler")
                        model.update_learning_rate(step)
                    model.feed_data(crops)
                    model.optimize_parameters(step)
                    found = dict(model.get_current_log())
                    losses.write(json.dumps({"step": step, **found}) + "\n")
                    if step % max(1, checkpoint_every) == 0 or step == steps:
                        losses.flush()
                        self._save(model, step)
                    on_step(step, found)

    def _crops(self, step: int) -> dict[str, Any]:
        """The crops of a step, float 0..1: "gt" (n, 3, crop, crop) and its poor version "lq"."""
        import torch

        random = np.random.default_rng((self._recipe.seed, step))
        pairs = [self._pair(random) for _ in range(self._recipe.batch)]
        good, poor = (np.stack(side).transpose(0, 3, 1, 2) for side in zip(*pairs, strict=True))
        return {
            name: torch.from_numpy(np.ascontiguousarray(pixels)).float().div_(255)
            for name, pixels in (("gt", good), ("lq", poor))
        }

    def _pair(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        crop = self._recipe.crop
        photo = self._read(self._photos[int(random.integers(len(self._photos)))])
        top, left = (int(random.integers(side - crop + 1)) for side in photo.shape[:2])
        good = photo[top : top + crop, left : left + crop]
        if random.random() < 0.5:
            good = good[:, ::-1]
        good = np.ascontiguousarray(good)
        return good, degrade(good, self._scale, random)

    def _model(self, step: int) -> Any:
        """basicsr's model as it was after that step."""
        import torch

        # The discriminator starts from random weights.
        torch.manual_seed(self._recipe.seed)
        if self._recipe.vgg:
            submodule("archs.vgg_arch").VGG_PRETRAIN_PATH = self._recipe.vgg
        model = submodule("models.srgan_model").SRGANModel(self._options())
        if not step:
            for network in (model.net_g, model.net_g_ema):
                network.load_state_dict(self._start.tensors())
            return model
        kept = self._kept(step)

        def load(name: str) -> Any:
            return torch.load(kept / name, map_location=model.device, weights_only=True)

        generator = load(f"net_g_{step}.pth")
        model.net_g.load_state_dict(generator["params"])
        model.net_g_ema.load_state_dict(generator["params_ema"])
        model.net_d.load_state_dict(load(f"net_d_{step}.pth")["params"])
        model.resume_training(load(f"{step}.state"))
        return model

    def _options(self) -> dict[str, Any]:
        import torch

        recipe, architecture = self._recipe, self._start.architecture
        adam = {"type": "Adam", "lr": recipe.learning_rate, "betas": [0.9, 0.99]}
        train: dict[str, Any] = {
            "ema_decay": recipe.averaging,
            "optim_g": dict(adam),
            "optim_d": dict(adam),
            "scheduler": {"type": "MultiStepLR", "milestones": [], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss", "loss_weight": recipe.pixel_weight},
            "gan_opt": {
                "type": "GANLoss",
                "gan_type": "vanilla",
                "loss_weight": recipe.adversarial_weight,
            },
        }
        if recipe.vgg:
            train["perceptual_opt"] = {
                "type": "PerceptualLoss",
                "layer_weights": PERCEPTUAL_LAYERS,
            }
        return {
            "is_train": True,
            "num_gpu": int(torch.cuda.is_available()),
            "dist": False,
            "rank": 0,
            "path": {},
            "network_g": {"type": architecture.basicsr_name, **architecture.options()},
            "network_d": {"type": "UNetDiscriminatorSN_basicsr", "num_in_ch": 3, "num_feat": 64},
            "train": train,
        }

    def _save(self, model: Any, step: int) -> None:
        """A checkpoint, complete or not there, in the place of the one before."""
        begun = self._kept(step).with_suffix(".begun")
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir(parents=True)
        model.opt["path"] = {"models": str(begun), "training_states": str(begun)}
        model.save(0, step)
        generator = begun / f"net_g_{step}.pth"
        # basicsr goes on when it cannot write.
        missing = [
            name
            for name in (generator.name, f"net_d_{step}.pth", f"{step}.state")
            if not (begun / name).is_file()
        ]
        if missing:
            raise OSError(f"{', '.join(missing)} could not be written to {begun}")
        before = self._checkpoints()
        begun.rename(self._kept(step))
        copied = self.weights.with_suffix(".begun")
        shutil.copyfile(self._kept(step) / generator.name, copied)
        copied.replace(self.weights)
        for path in before:
            shutil.rmtree(path)

    def _checkpoints(self) -> list[Path]:
        found = (self.folder / "checkpoints").glob("*")
        return [path for path in found if path.name.isdigit()]

    def _kept(self, step: int) -> Path:
        return self.folder / "checkpoints" / f"{step:07}"

    def _keep_recipe(self) -> None:
        path = self.folder / "recipe.json"
        wanted = asdict(self._recipe)
        if path.exists():
            kept = json.loads(path.read_text())
            other = [
                f"{name} {kept.get(name)!r}, not {value!r}"
                for name, value in wanted.items()
                if kept.get(name) != value
            ]
            if other:
                raise UnsuitableInput(
                    f"{self.folder} holds a training with {'; '.join(other)}: "
                    "go on with its settings, or choose another folder"
                )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(wanted, indent=1) + "\n")

    def _forget_losses_after(self, step: int) -> None:
        """What a killed run did after its last checkpoint is done again."""
        path = self.folder / "losses.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("".join(f"{line}\n" for line in lines[:step]))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        try:
            with FileLock(str(self.folder / ".lock"), timeout=0):
                yield
        except Timeout as error:
            raise UnsuitableInput(f"another process trains in {self.folder}") from error
