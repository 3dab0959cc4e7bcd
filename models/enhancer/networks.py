"""The enhancers that run basicsr's networks."""

import ctypes
import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from models import artefacts
from models.enhancer import Enhancer, architectures, checkpoints, fastest
from models.enhancer.architectures import Architecture
from models.enhancer.checkpoints import Checkpoint
from models.enhancer.runtimes import InTorch, Runtime
from models.errors import WeightsMissing

if TYPE_CHECKING:
    import torch


class NetworkEnhancer(Enhancer):
    """A network on the GPU in half precision if there is one, else on the CPU in fp32.

    On a CPU it runs in whichever runtime is the fastest on this machine.

    Parameters
    ----------
    device:
        "cpu", "cuda", "cuda:1"...; None takes CUDA when it is available.
    half:
        Whether a GPU computes in half precision.
    gpu_memory:
        GiB of the GPU's memory that this process may take; 0: all that is free.
    weak_denoise:
        File of weights of the same architecture that were trained to keep noise; none: the
        enhancer's own weights are taken as they are.
    denoise_strength:
        Where between the two the weights are taken, 0 (all of `weak_denoise`) to 1.
    """

    def __init__(
        self,
        *,
        weights: Path,
        threads: int,
        tile: int | None = None,
        tiles_per_pass: int = 8,
        device: str | None = None,
        half: bool = True,
        gpu_memory: float = 0.0,
        weak_denoise: Path | None = None,
        denoise_strength: float = 1.0,
    ) -> None:
        super().__init__(weights=weights, threads=threads, tile=tile, tiles_per_pass=tiles_per_pass)
        self._device = device
        self._half = half
        self._gpu_memory = gpu_memory
        self._weak_denoise = weak_denoise
        self._strength = denoise_strength

    @property
    @abstractmethod
    def architecture(self) -> Architecture:
        """What network it is."""

    @property
    @abstractmethod
    def file(self) -> Path:
        """Where its weights lie; made there if they can be."""

    @property
    def scales(self) -> tuple[int, ...]:
        return (self.architecture.scale,)

    @property
    def halo(self) -> int:
        return self.architecture.halo

    @property
    def multiple_of(self) -> int:
        return self.architecture.multiple_of

    @property
    def removes_noise(self) -> bool:
        return self._weak_denoise is not None

    @property
    def identity(self) -> str:
        if self._weak_denoise is None:
            return self._identity
        return f"{self._identity}~{digest(self._weak_denoise)}@{self._strength:g}"

    @property
    @abstractmethod
    def _identity(self) -> str:
        """Of its own weights."""

    def _load(self) -> Runtime:
        checkpoint = self._checkpoint()
        found = checkpoint.architecture
        device = self._device or ("cuda" if _finds_a_gpu() else "cpu")
        if device == "cpu":
            # bfloat16 and half precision are several times slower than fp32 on most CPUs.
            runtime = fastest.choose(
                checkpoint, lambda: self._build(checkpoint), self.weights, self.threads
            )
            self.tile, self.pixels_per_pass = found.tile, found.pixels_per_pass
            if runtime.tile is not None:
                self.tile, self.pixels_per_pass = runtime.tile, runtime.tile**2
            return runtime
        network = self._build(checkpoint)
        self.tile, self.pixels_per_pass = found.tile_on_gpu, found.pixels_per_pass_on_gpu
        self._limit_gpu_memory(device)
        return InTorch(network, found.scale, "channels_last", device, half=self._half)

    def _build(self, checkpoint: Checkpoint) -> "torch.nn.Module":
        import torch

        torch.set_num_threads(self.threads)
        return checkpoints.build(checkpoint, self.file)

    def _checkpoint(self) -> Checkpoint:
        own = checkpoints.read(self.file)
        if self._weak_denoise is None:
            return own
        return checkpoints.interpolate(own, checkpoints.read(self._weak_denoise), self._strength)

    def _limit_gpu_memory(self, device: str) -> None:
        import torch

        if self._gpu_memory:
            # "cuda" alone means the current one, which this function does not look up by itself.
            index = torch.device(device).index
            index = torch.cuda.current_device() if index is None else index
            total = torch.cuda.get_device_properties(index).total_memory / 2**30
            torch.cuda.set_per_process_memory_fraction(min(1.0, self._gpu_memory / total), index)

    @property
    def threads_sharing(self) -> int:
        return self.threads if self.load().has_a_thread_for_each_tile else 1

    def _enlarge(self, passes: Iterable[np.ndarray], scale: int) -> Iterator[np.ndarray]:
        runtime: Runtime = self.load()
        return runtime.enlarge(passes, scale)


class PackagedEnhancer(NetworkEnhancer):
    """A network whose weights an installed package carries."""

    artefact: ClassVar[str]
    packaged: ClassVar[Architecture]

    @property
    def architecture(self) -> Architecture:
        return self.packaged

    @property
    def file(self) -> Path:
        return artefacts.ensure(self.weights, self.artefact) / "network.safetensors"

    @property
    def _identity(self) -> str:
        return f"{self.name}@{self.version}.{artefacts.VERSIONS[self.artefact]}"


class Compact(PackagedEnhancer):
    """realesr-animevideov3: 18 convolutions at the input's size; the fast one, and for CPUs.

    SRVGGNetCompact from Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833).
    """

    name = "compact"
    artefact = "compact"
    packaged = architectures.Compact(features=64, blocks=16, scale=4)

    @property
    def scales(self) -> tuple[int, ...]:
        return (2, 3, 4)


class X4Plus(PackagedEnhancer):
    """realesrgan-x4plus: 23 residual-in-residual dense blocks; the good one, and for GPUs.

    RRDBNet (Wang et al. 2018, arXiv:1809.00219) as trained by Real-ESRGAN (arXiv:2107.10833).
    """

    name = "x4plus"
    version = "2"
    artefact = "x4plus"
    packaged = architectures.RRDB(features=64, blocks=23, scale=4)


class X4PlusAnime(PackagedEnhancer):
    """realesrgan-x4plus-anime: 6 blocks, for drawings, logos and signs; a quarter of the time."""

    name = "x4plus_anime"
    artefact = "x4plus_anime"
    packaged = architectures.RRDB(features=64, blocks=6, scale=4)


class FromFile(NetworkEnhancer):
    """Weights of an operator's own: an official `.pth`, a plain state dict, or safetensors.

    Which network it is follows from the weights, its identity from the file's content.

    Parameters
    ----------
    file:
        The weights.
    """

    name = "path"

    def __init__(self, *, file: Path, **options: Any) -> None:
        super().__init__(**options)
        self._file = Path(file).expanduser()

    @property
    def file(self) -> Path:
        return self._file

    @cached_property
    def architecture(self) -> Architecture:
        return checkpoints.read(self._file).architecture

    @property
    def _identity(self) -> str:
        return f"{self.name}@{self.version}.{digest(self._file)}"


def _finds_a_gpu() -> bool:
    """Whether torch sees one; it is asked only where there is a driver, and else not imported."""
    if not Path("/dev/kfd").exists():
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            return False
    import torch

    return torch.cuda.is_available()


@cache
def digest(file: Path) -> str:
    """The first 12 hexadecimal digits of a file's sha256. Raises `WeightsMissing`."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()[:12]
    except OSError as error:
        raise WeightsMissing(f"the file of weights {file} cannot be read: {error}") from error
