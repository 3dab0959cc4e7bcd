"""How a network of torch is run: in torch on any device, or on a CPU in OpenVINO.

OpenVINO runs the same arithmetic in fp32 with kernels that keep a CPU's cores busier, and with the
steps before and after the network in the same graph. It is made of the network in memory, through
ONNX, so that weights of any origin take the same way.
"""

import io
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import OutOfMemory

if TYPE_CHECKING:
    import torch

Way = Callable[[np.ndarray, int], np.ndarray]
"""A forward pass: uint8 (n, h, w, 3) and a scale to uint8 (n, h * scale, w * scale, 3)."""

OPSET = 17


class InTorch:
    """A network in torch.

    Parameters
    ----------
    scale:
        How much the network itself enlarges; to other scales the result is resized.
    layout:
        The name of a `torch.memory_format`.
    device:
        Where; the network is moved there.
    half:
        Whether in half precision.
    """

    def __init__(
        self,
        network: "torch.nn.Module",
        scale: int,
        layout: str,
        device: "torch.device | str" = "cpu",
        half: bool = False,
    ) -> None:
        import torch

        self._scale = scale
        self._device = device
        self._dtype = torch.float16 if half else torch.float32
        self._layout: torch.memory_format = getattr(torch, layout)
        self.network = network.to(device, self._dtype).to(memory_format=self._layout)

    def __call__(self, pixels: np.ndarray, scale: int) -> np.ndarray:
        """Raises `OutOfMemory` when a GPU's does not suffice, with all that it took freed."""
        import torch

        try:
            with torch.inference_mode():
                batch = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)
                return self._forward(batch, scale).cpu().numpy()
        except torch.cuda.OutOfMemoryError as error:
            cause = str(error)
        # Outside the except block: the error's traceback holds on to what filled the memory.
        torch.cuda.empty_cache()
        count, height, width = pixels.shape[:3]
        raise OutOfMemory(f"{count} tiles of {height}x{width} px do not fit: {cause}")

    def _forward(self, pixels: "torch.Tensor", scale: int) -> "torch.Tensor":
        batch = pixels.permute(0, 3, 1, 2).to(self._dtype, memory_format=self._layout)
        return _to_pixels(self.network(batch.div_(255)), scale, self._scale)


class InOpenVINO:
    """A network in OpenVINO on the CPU, in fp32.

    Parameters
    ----------
    scale:
        How much the network itself enlarges; to other scales the result is resized.
    threads:
        How many it computes on.
    """

    def __init__(self, network: "torch.nn.Module", scale: int, threads: int) -> None:
        self._network = network
        self._scale = scale
        self._threads = threads
        self._graphs: dict[int, Any] = {}
        # A compiled graph has one set of buffers; a pass keeps all threads busy anyway.
        self._turn = threading.Lock()
        self._graph(scale)

    def __call__(self, pixels: np.ndarray, scale: int) -> np.ndarray:
        with self._turn:
            result: np.ndarray = self._graph(scale)(np.ascontiguousarray(pixels))[0]
            return result

    def _graph(self, scale: int) -> Any:
        if scale not in self._graphs:
            self._graphs[scale] = self._compile(scale)
        return self._graphs[scale]

    def _compile(self, scale: int) -> Any:
        # Not openvino.convert_model: it reports its use to Intel.
        import openvino

        chosen = {
            "INFERENCE_NUM_THREADS": self._threads,
            "PERFORMANCE_HINT": "LATENCY",
            # Where the processor has bfloat16 that would be taken otherwise.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        core = openvino.Core()
        return core.compile_model(core.read_model(self._exported(scale)), "CPU", chosen)

    def _exported(self, scale: int) -> bytes:
        """The steps before the network, the network and those after it, as ONNX."""
        import warnings

        import torch

        network, own = self._network, self._scale

        class Whole(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, pixels: torch.Tensor) -> torch.Tensor:
                batch = pixels.permute(0, 3, 1, 2).float() / 255
                return _to_pixels(self.network(batch), scale, own)

        sides = {0: "count", 1: "height", 2: "width"}
        file = io.BytesIO()
        # Tracing warns of every Python constant that it folds.
        with torch.inference_mode(), warnings.catch_warnings(action="ignore"):
            torch.onnx.export(
                Whole().eval(),
                (torch.zeros((1, 16, 16, 3), dtype=torch.uint8),),
                file,  # type: ignore[arg-type]  # without dynamo it takes a file, too
                input_names=["pixels"],
                output_names=["enlarged"],
                dynamic_axes={"pixels": sides, "enlarged": sides},
                opset_version=OPSET,
                dynamo=False,
            )
        return file.getvalue()


def _to_pixels(result: "torch.Tensor", scale: int, own: int) -> "torch.Tensor":
    """What a network that enlarges `own` times has given, as uint8 (n, h, w, 3) at `scale`."""
    import torch

    if scale != own:
        # What the compact family's own x2 and x3 models do after the same network.
        result = torch.nn.functional.interpolate(result, scale_factor=scale / own, mode="bicubic")
    result = result.clamp_(0, 1).mul_(255).round_().to(torch.uint8)
    return result.permute(0, 2, 3, 1).contiguous()
