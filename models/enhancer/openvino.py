"""A compact network as a model of OpenVINO, from its weights alone, and what compiles it."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from openvino import CompiledModel, Core, Model, Node, PartialShape
from openvino import opset13 as ops

from models.enhancer.architectures import Compact

PIXELS = PartialShape([-1, -1, -1, 3])


def compact(architecture: Compact, state: Mapping[str, np.ndarray], scale: int) -> Model:
    """RGB uint8 (n, h, w, 3) to the same enlarged by `scale`, whatever the network enlarges by."""
    pixels = ops.parameter(PIXELS, np.uint8)
    unit = ops.divide(ops.convert(pixels, "f32"), np.float32(255))
    planes = ops.transpose(unit, [0, 3, 1, 2])
    found = planes
    for number in range(2 * architecture.blocks + 3):
        weight = state[f"body.{number}.weight"].astype(np.float32)
        if weight.ndim == 4:
            bias = state[f"body.{number}.bias"].astype(np.float32)
            around = [1, 1]
            found = ops.convolution(found, weight, [1, 1], around, around, [1, 1])
            found = ops.add(found, bias.reshape(1, -1, 1, 1))
        else:
            found = ops.prelu(found, weight)
    details = ops.depth_to_space(found, "depth_first", architecture.scale)
    enlarged = ops.add(details, _resized(planes, architecture.scale, "nearest", "asymmetric"))
    if scale != architecture.scale:
        # The same cubic convolution as torch's.
        enlarged = _resized(enlarged, scale / architecture.scale, "cubic", "half_pixel")
    levels = ops.multiply(ops.clamp(enlarged, 0.0, 1.0), np.float32(255))
    rounded = ops.convert(ops.round(levels, "half_to_even"), "u8")
    return Model([ops.transpose(rounded, [0, 2, 3, 1])], [pixels], "compact")


def _resized(planes: Node, times: float, mode: str, positions: str) -> Node:
    return ops.interpolate(
        planes,
        np.array([times, times], np.float32),
        mode=mode,
        shape_calculation_mode="scales",
        axes=np.array([2, 3]),
        coordinate_transformation_mode=positions,
        nearest_mode="floor",
        cube_coeff=-0.75,
    )


def compiled(model: Model, threads: int) -> CompiledModel:
    """The model, each call to which is shared by so many threads."""
    options = {
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        # Several processes would pin their threads to the same processors.
        "ENABLE_CPU_PINNING": False,
    }
    # Its plugin for CPUs gives the thread that loads it a stack for signals, and frees that stack
    # whichever thread ends it: a signal to the first one then ends the process in a segmentation
    # fault. So a thread loads it that ends, not the main one, which gets the signals.
    with ThreadPoolExecutor(1) as loading:
        return loading.submit(lambda: _core().compile_model(model, "CPU", options)).result()


@cache
def _core() -> Core:
    """One for the process, which stays."""
    return Core()
