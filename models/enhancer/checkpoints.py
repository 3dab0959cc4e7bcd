"""Reads the weights of an enhancer, as training programs and converters leave them.

Known are basicsr's and Real-ESRGAN's `.pth` files (`params_ema`, else `params`), plain state dicts,
and safetensors.
"""

import io
import pickle  # nosec B403
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from models.enhancer.architectures import ARCHITECTURES, Architecture, infer
from models.errors import UnsuitableWeights, WeightsMissing

if TYPE_CHECKING:
    import torch

    State = dict[str, torch.Tensor]

# What torch's reader raises at files that it did not write, cut ones among them. Of pickle only its
# error is used: torch reads tensors, and runs nothing that a file names.
_UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
)


class Checkpoint(NamedTuple):
    """Weights, float32 on the CPU, and the architecture that they fit."""

    architecture: Architecture
    state: "State"


def read(path: Path) -> Checkpoint:
    """Reads a file of weights; nothing in it is executed.

    Raises `WeightsMissing` where there is no such file, and `UnsuitableWeights` where it is not of
    one of the known networks.
    """
    state = {key: value.float() for key, value in _state(path).items()}
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    architecture = infer(shapes)
    if architecture is None:
        known = ", ".join(kind.basicsr_name.removesuffix("_basicsr") for kind in ARCHITECTURES)
        raise UnsuitableWeights(
            f"{path} holds none of the networks {known} for RGB, enlarging by 2 or more; "
            f"its first tensors: {', '.join(list(shapes)[:3]) or 'none'}"
        )
    return Checkpoint(architecture, state)


def build(checkpoint: Checkpoint, path: Path) -> "torch.nn.Module":
    """The network with these weights, ready to infer. Raises `UnsuitableWeights`."""
    from models.enhancer import basicsr_networks

    network = basicsr_networks.build(checkpoint.architecture)
    try:
        network.load_state_dict(checkpoint.state)
    except RuntimeError as error:
        raise UnsuitableWeights(
            f"{path} looks like {checkpoint.architecture}, but does not fit it: {error}"
        ) from error
    return network.eval().requires_grad_(False)


def interpolate(strong: Checkpoint, weak: Checkpoint, strength: float) -> Checkpoint:
    """Weights between two checkpoints: `strength` of the first, the rest of the second.

    Deep network interpolation (Wang et al. 2019, arXiv:1811.10515), by which Real-ESRGAN sets how
    much noise is removed. Raises `UnsuitableWeights` when the architectures differ.
    """
    if strong.architecture != weak.architecture or strong.state.keys() != weak.state.keys():
        raise UnsuitableWeights(
            f"weights of {strong.architecture} and of {weak.architecture} cannot be interpolated"
        )
    state = {
        key: strength * value + (1 - strength) * weak.state[key]
        for key, value in strong.state.items()
    }
    return Checkpoint(strong.architecture, state)


def _state(path: Path) -> "State":
    import torch

    if not path.is_file():
        raise WeightsMissing(f"there is no file of weights {path}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsMissing(f"{path} cannot be read: {error}") from error
    stored: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load

            stored = load(content)
        else:
            stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        if isinstance(error, _UNREADABLE) or type(error).__module__.startswith("safetensors"):
            # torch's own words advise to run what the file holds.
            raise UnsuitableWeights(f"{path} is no file of weights, or a damaged one") from error
        raise
    if isinstance(stored, dict):
        stored = stored.get("params_ema", stored.get("params", stored))
    if not isinstance(stored, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in stored.items()
    ):
        raise UnsuitableWeights(f"{path} holds no state dict")
    # Training on several GPUs puts this before every name.
    return {key.removeprefix("module."): value for key, value in stored.items()}
