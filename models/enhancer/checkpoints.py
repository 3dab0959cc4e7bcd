"""Reads the weights of an enhancer, as training programs and converters leave them.

Known are basicsr's and Real-ESRGAN's `.pth` files (`params_ema`, else `params`), plain state dicts,
and safetensors.
"""

import io
import pickle  # nosec B403
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from models.enhancer.architectures import ARCHITECTURES, Architecture, infer
from models.errors import UnsuitableWeights, WeightsMissing

if TYPE_CHECKING:
    import torch

State = Mapping[str, np.ndarray]

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
    """Weights, float32, and the architecture that they fit."""

    architecture: Architecture
    state: State

    def tensors(self) -> "dict[str, torch.Tensor]":
        """The weights as torch's networks take them."""
        import torch

        return {name: torch.from_numpy(value) for name, value in self.state.items()}


def read(path: Path) -> Checkpoint:
    """Reads a file of weights; nothing in it is executed.

    Raises `WeightsMissing` where there is no such file, and `UnsuitableWeights` where it is not of
    one of the known networks.
    """
    # Training on several GPUs puts "module." before every name.
    state = {name.removeprefix("module."): value for name, value in _state(path).items()}
    shapes = {key: value.shape for key, value in state.items()}
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
        network.load_state_dict(checkpoint.tensors())
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


def _state(path: Path) -> State:
    if not path.is_file():
        raise WeightsMissing(f"there is no file of weights {path}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsMissing(f"{path} cannot be read: {error}") from error
    try:
        return _safetensors(content) if path.suffix == ".safetensors" else _pickled(content, path)
    except Exception as error:
        if isinstance(error, _UNREADABLE) or type(error).__module__.startswith("safetensors"):
            # torch's own words advise to run what the file holds.
            raise UnsuitableWeights(f"{path} is no file of weights, or a damaged one") from error
        raise


def _safetensors(content: bytes) -> State:
    """Without torch, which takes half a GiB, unless the weights are of a type that numpy lacks."""
    from safetensors import numpy

    try:
        return {name: value.astype(np.float32) for name, value in numpy.load(content).items()}
    except KeyError:
        from safetensors import torch

        return _arrays(torch.load(content))


def _pickled(content: bytes, path: Path) -> State:
    import torch

    stored: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if isinstance(stored, dict):
        stored = stored.get("params_ema", stored.get("params", stored))
    if not isinstance(stored, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in stored.items()
    ):
        raise UnsuitableWeights(f"{path} holds no state dict")
    return _arrays(stored)


def _arrays(tensors: "Mapping[str, torch.Tensor]") -> State:
    return {name: value.float().numpy() for name, value in tensors.items()}
