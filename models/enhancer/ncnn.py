"""Files of ncnn models: reads weights, and writes a compact network, without ncnn.

The `.param` file lists the layers. The `.bin` file holds, in that order, for each Convolution a
4-byte tag, the weights and the float32 biases, and for each PReLU its float32 slopes. The layout is
that of ncnn's ModelBinFromDataReader (https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.enhancer.architectures import Compact
from models.errors import ModelError

HALF_PRECISION_TAG = 0x01306B47
FULL_PRECISION_TAG = 0

INPUT, OUTPUT = "photo", "enlarged"
"""Blobs of a network that is written here: RGB 0..1 of shape (3, h, w), and the same enlarged."""


class UnreadableWeights(ModelError):
    """The file is not laid out as an ncnn model of convolutions and PReLUs."""


def read_weights(param: Path, binary: Path) -> list[np.ndarray]:
    """Returns the flat arrays of all layers in order: weights (float16 or float32), then biases.

    Raises `UnreadableWeights`, also when bytes are left over.
    """
    data = binary.read_bytes()
    position = 0

    def take(count: int, dtype: str) -> np.ndarray:
        nonlocal position
        size = count * np.dtype(dtype).itemsize
        if position + size > len(data):
            raise UnreadableWeights(f"{binary} ends early")
        values = np.frombuffer(data, dtype, count, position)
        position += -(-size // 4) * 4
        return values

    arrays: list[np.ndarray] = []
    for kind, settings in _layers(param):
        if kind == "Convolution":
            (tag,) = take(1, "<u4")
            if tag not in (HALF_PRECISION_TAG, FULL_PRECISION_TAG):
                raise UnreadableWeights(f"{binary}: unknown tag {tag:#x}")
            arrays.append(take(settings[6], "<f2" if tag == HALF_PRECISION_TAG else "<f4"))
            if settings.get(5, 0):
                arrays.append(take(settings[0], "<f4"))
        elif kind == "PReLU":
            arrays.append(take(settings[0], "<f4"))
    if position != len(data):
        raise UnreadableWeights(f"{binary} holds {len(data) - position} bytes too many")
    return arrays


def write_compact(
    architecture: Compact, state: Mapping[str, np.ndarray], param: Path, binary: Path
) -> None:
    """Writes a compact network with the weights of a state dict, in full precision."""
    features, scale = architecture.features, architecture.scale
    last = 2 * architecture.blocks + 2
    layers = [
        f"Input input 0 1 {INPUT}",
        f"Split split 1 2 {INPUT} body0 small",
    ]
    content = bytearray()
    for number in range(last + 1):
        weight = state[f"body.{number}.weight"]
        blobs = f"1 1 body{number} body{number + 1}"
        if weight.ndim == 4:
            layers.append(
                f"Convolution layer{number} {blobs} 0={weight.shape[0]} 1=3 4=1 5=1 6={weight.size}"
            )
            content += np.array([FULL_PRECISION_TAG], "<u4").tobytes()
            content += weight.astype("<f4").tobytes()
            content += state[f"body.{number}.bias"].astype("<f4").tobytes()
        else:
            layers.append(f"PReLU layer{number} {blobs} 0={features}")
            content += weight.astype("<f4").tobytes()
    layers += [
        f"PixelShuffle shuffle 1 1 body{last + 1} details 0={scale}",
        f"Interp nearest 1 1 small large 0=1 1={scale} 2={scale}",
        f"BinaryOp add 2 1 details large {OUTPUT} 0=0",
    ]
    made = sum(int(line.split()[3]) for line in layers)
    param.write_text("\n".join(["7767517", f"{len(layers)} {made}", *layers, ""]))
    binary.write_bytes(content)


def _layers(param: Path) -> list[tuple[str, dict[int, int]]]:
    """The kind of each layer with its whole-number settings."""
    layers = []
    for line in param.read_text().splitlines()[2:]:
        words = line.split()
        if not words:
            continue
        blobs = int(words[2]) + int(words[3])
        settings = {}
        for word in words[4 + blobs :]:
            key, _, value = word.partition("=")
            if value.lstrip("-").isdigit():
                settings[int(key)] = int(value)
        layers.append((words[0], settings))
    return layers
