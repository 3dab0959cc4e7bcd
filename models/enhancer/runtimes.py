"""What runs an enhancer's network: torch on any device, or on a CPU OpenVINO or ncnn.

Which is the fastest on a CPU depends on the processor, and on who shares its caches. All compute in
fp32 and agree within 1/255.
"""

import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from models.enhancer import ncnn as ncnn_files
from models.enhancer.architectures import Compact
from models.enhancer.checkpoints import Checkpoint
from models.errors import OutOfMemory

if TYPE_CHECKING:
    import openvino
    import torch


class Runtime(ABC):
    """A loaded network.

    Attributes
    ----------
    has_a_thread_for_each_tile:
        Else all threads share each pass.
    tile:
        Side in px of the largest square that it computes at once; None takes the architecture's.
    """

    has_a_thread_for_each_tile = False
    tile: int | None = None

    @abstractmethod
    def enlarge(self, passes: Iterable[np.ndarray], scale: int) -> Iterator[np.ndarray]:
        """Each pass, uint8 (n, h, w, 3), in turn as uint8 (n, h * scale, w * scale, 3)."""


class InTorch(Runtime):
    """A network in torch, whose threads share each layer of a pass.

    Parameters
    ----------
    scale:
        How much the network itself enlarges; to other scales its result is resized.
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
        device: str = "cpu",
        *,
        half: bool = False,
    ) -> None:
        import torch

        self._scale = scale
        self._device = device
        self._dtype = torch.float16 if half else torch.float32
        self._layout: torch.memory_format = getattr(torch, layout)
        self.network = network.to(device, self._dtype).to(memory_format=self._layout)

    def enlarge(self, passes: Iterable[np.ndarray], scale: int) -> Iterator[np.ndarray]:
        """Raises `OutOfMemory` when a GPU's does not suffice, with all that it took freed."""
        return (self._in_one_pass(pixels, scale) for pixels in passes)

    def _in_one_pass(self, pixels: np.ndarray, scale: int) -> np.ndarray:
        import torch

        try:
            return self._forward(pixels, scale)
        except torch.cuda.OutOfMemoryError as error:
            cause = str(error)
        # Outside the except block: the error's traceback holds on to what filled the memory.
        torch.cuda.empty_cache()
        count, height, width = pixels.shape[:3]
        raise OutOfMemory(f"{count} tiles of {height}x{width} px do not fit: {cause}")

    def _forward(self, pixels: np.ndarray, scale: int) -> np.ndarray:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)
            batch = batch.permute(0, 3, 1, 2).to(self._dtype, memory_format=self._layout)
            result = self.network(batch.div_(255))
            if scale != self._scale:
                # What the compact family's own x2 and x3 models do after the same network.
                result = torch.nn.functional.interpolate(
                    result,
                    size=(pixels.shape[1] * scale, pixels.shape[2] * scale),
                    mode="bicubic",
                )
            result = result.clamp_(0, 1).mul_(255).round_().to(torch.uint8)
            return _on_host(result.permute(0, 2, 3, 1).contiguous())


def _on_host(result: "torch.Tensor") -> np.ndarray:
    """What a device has computed.

    From a GPU by way of pinned memory, of which torch keeps what it has: the GPU writes there by
    itself. Other memory of this size the system would take back and clear before each use.
    """
    import torch

    if result.device.type == "cpu":
        return result.numpy()
    pinned = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
    return pinned.copy_(result).numpy()


class InOpenVINO(Runtime):
    """A compact network in OpenVINO, whose threads share each layer of a pass.

    On a CPU; what is before the network and after it is part of its graph.
    """

    # 640x480 whole: its halos would cost an eighth more. A process has a peak of 0.5 GiB then.
    tile = 560

    def __init__(self, checkpoint: Checkpoint, threads: int) -> None:
        assert isinstance(checkpoint.architecture, Compact), "OpenVINO runs no other one here"
        self._architecture = checkpoint.architecture
        self._state = checkpoint.state
        self._threads = threads
        self._compiled: dict[int, openvino.CompiledModel] = {}
        self._compiling = threading.Lock()
        self._network(self._architecture.scale)

    def _network(self, scale: int) -> "openvino.CompiledModel":
        # Only here is OpenVINO imported.
        from models.enhancer.openvino import compact, compiled

        with self._compiling:
            if scale not in self._compiled:
                model = compact(self._architecture, self._state, scale)
                self._compiled[scale] = compiled(model, self._threads)
            return self._compiled[scale]

    def enlarge(self, passes: Iterable[np.ndarray], scale: int) -> Iterator[np.ndarray]:
        """As `Runtime` says."""
        network = self._network(scale)
        # A request of its own: what the largest pass took would be kept.
        return (network.create_infer_request().infer({0: pixels})[0] for pixels in passes)


class InNcnn(Runtime):
    """A compact network in ncnn, on a CPU.

    Each tile is computed by one thread from end to end. ncnn's own threads would share each layer,
    and spin between two of them on cores that other workers need.
    """

    has_a_thread_for_each_tile = True

    def __init__(self, checkpoint: Checkpoint, threads: int) -> None:
        import ncnn

        assert isinstance(checkpoint.architecture, Compact), "ncnn runs no other one here"
        self._scale = checkpoint.architecture.scale
        self._net = ncnn.Net()
        chosen = self._net.opt
        chosen.num_threads = 1
        chosen.use_fp16_storage = chosen.use_fp16_arithmetic = chosen.use_fp16_packed = False
        chosen.use_bf16_storage = chosen.use_bf16_packed = False
        with tempfile.TemporaryDirectory() as folder:
            param, binary = Path(folder, "network.param"), Path(folder, "network.bin")
            ncnn_files.write_compact(checkpoint.architecture, checkpoint.state, param, binary)
            self._net.load_param(str(param))
            self._net.load_model(str(binary))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ncnn")

    def enlarge(self, passes: Iterable[np.ndarray], scale: int) -> Iterator[np.ndarray]:
        """As `Runtime` says; all passes are under way at once, as far as there are threads."""
        begun = [
            [self._threads.submit(self._tile, pixels, scale) for pixels in batch]
            for batch in passes
        ]
        return (np.stack([tile.result() for tile in batch]) for batch in begun)

    def _tile(self, pixels: np.ndarray, scale: int) -> np.ndarray:
        import ncnn

        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
        planes /= 255
        extractor = self._net.create_extractor()
        # The tile's own: what other shapes of tiles took would be kept beside it.
        memory = [ncnn.UnlockedPoolAllocator() for _ in range(2)]
        extractor.set_blob_allocator(memory[0])
        extractor.set_workspace_allocator(memory[1])
        extractor.input(ncnn_files.INPUT, ncnn.Mat(planes))
        failed, enlarged = extractor.extract(ncnn_files.OUTPUT)
        if failed:
            raise OutOfMemory(f"ncnn cannot compute a tile of {pixels.shape[:2]} px: {failed}")
        result = np.asarray(enlarged)
        if scale != self._scale:
            height, width = pixels.shape[:2]
            # The same cubic convolution as torch's.
            result = np.stack(
                [
                    cv2.resize(
                        plane, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC
                    )
                    for plane in result
                ]
            )
        np.clip(result, 0, 1, out=result)
        result *= 255
        np.rint(result, out=result)
        return np.ascontiguousarray(result.transpose(1, 2, 0), np.uint8)
