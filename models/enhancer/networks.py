"""The enhancers that run on basicsr's networks in torch."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from models import artefacts
from models.enhancer import Enhancer
from models.errors import OutOfMemory

if TYPE_CHECKING:
    import torch


class _Loaded(NamedTuple):
    network: "torch.nn.Module"
    device: "torch.device"
    dtype: "torch.dtype"


class TorchEnhancer(Enhancer):
    """A network on the GPU in half precision if there is one, else on the CPU in fp32.

    Parameters
    ----------
    device:
        "cpu", "cuda", "cuda:1"...; None takes CUDA when it is available.
    """

    artefact: ClassVar[str]
    network_scale: ClassVar[int] = 4
    tile_on_gpu: ClassVar[int]
    pixels_per_pass_on_gpu: ClassVar[int]

    def __init__(
        self,
        *,
        weights: Path,
        threads: int,
        tile: int | None = None,
        tiles_per_pass: int = 8,
        device: str | None = None,
    ) -> None:
        super().__init__(weights=weights, threads=threads, tile=tile, tiles_per_pass=tiles_per_pass)
        self._tile_is_chosen = tile is not None
        self._device = device

    @property
    def identity(self) -> str:
        return f"{self.name}@{self.version}.{artefacts.VERSIONS[self.artefact]}"

    def _load(self) -> _Loaded:
        stored_at = artefacts.ensure(self.weights, self.artefact) / "network.safetensors"

        import torch
        from safetensors.torch import load_file

        from models.enhancer.basicsr_networks import build

        torch.set_num_threads(self.threads)
        chosen = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        device = torch.device(chosen)
        on_gpu = device.type == "cuda"
        # bfloat16 and half precision are several times slower than fp32 on CPUs.
        dtype = torch.float16 if on_gpu and self.half else torch.float32
        if on_gpu:
            self.pixels_per_pass = self.pixels_per_pass_on_gpu
            if not self._tile_is_chosen:
                self.tile = self.tile_on_gpu
        network = build(self.artefact)
        network.load_state_dict(
            {key: value.float() for key, value in load_file(str(stored_at)).items()}
        )
        network.eval().requires_grad_(False)
        network.to(device, dtype).to(memory_format=torch.channels_last)
        return _Loaded(network, device, dtype)

    def _enlarge(self, pixels: np.ndarray, scale: int) -> np.ndarray:
        import torch

        try:
            return self._forward(pixels, scale)
        except torch.cuda.OutOfMemoryError as error:
            if len(pixels) == 1:
                raise OutOfMemory(
                    f"one tile of {pixels.shape[1]}x{pixels.shape[2]} px does not fit; "
                    f"choose a smaller tile than {self.tile}"
                ) from error
        # Outside the except block: the error's traceback holds on to what filled the memory.
        torch.cuda.empty_cache()
        middle = len(pixels) // 2
        return np.concatenate(
            [self._enlarge(pixels[:middle], scale), self._enlarge(pixels[middle:], scale)]
        )

    def _forward(self, pixels: np.ndarray, scale: int) -> np.ndarray:
        import torch

        network, device, dtype = self.load()
        self._count_pass()
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
            result = network(batch.permute(0, 3, 1, 2).to(dtype).div_(255))
            if scale != self.network_scale:
                # What the family's own x2 and x3 models do after the same network.
                result = torch.nn.functional.interpolate(
                    result,
                    size=(pixels.shape[1] * scale, pixels.shape[2] * scale),
                    mode="bicubic",
                )
            result = result.clamp_(0, 1).mul_(255).round_().to(torch.uint8)
            return result.permute(0, 2, 3, 1).contiguous().cpu().numpy()


class Compact(TorchEnhancer):
    """realesr-animevideov3: 18 convolutions at the input's size; the fast one, and for CPUs.

    SRVGGNetCompact from Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833).
    """

    name = "compact"
    artefact = "compact"
    scales = (2, 3, 4)
    halo = 20
    """18 convolutions of 3x3 reach 18 px, the resize after them 1; nothing is approximated."""
    half = True
    tile = 512
    pixels_per_pass = 1 << 17
    tile_on_gpu = 768
    pixels_per_pass_on_gpu = 1 << 22


class X4Plus(TorchEnhancer):
    """realesrgan-x4plus: 23 residual-in-residual dense blocks; the good one, and for GPUs.

    RRDBNet (Wang et al. 2018, arXiv:1809.00219) as trained by Real-ESRGAN (arXiv:2107.10833).
    """

    name = "x4plus"
    artefact = "x4plus"
    scales = (4,)
    halo = 32
    """Its receptive field reaches 349 px, its weight lies near the centre. Tiled and whole differ
    by 0.2 grey levels on average with this halo, by 0.7 with one of 16 (two photos, tiles of 128).
    """
    half = True
    tile = 192
    pixels_per_pass = 1 << 16
    tile_on_gpu = 512
    pixels_per_pass_on_gpu = 1 << 20
