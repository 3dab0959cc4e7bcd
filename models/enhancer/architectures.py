"""The networks of basicsr that enhance, told apart and measured by their weights alone.

An architecture is data: its sizes, which the shapes of a state dict give, and what an enhancer must
know to run it (scale, halo, tile). Tiles and passes bound the memory of a forward pass, whatever
the size of the photo.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

Shapes = Mapping[str, tuple[int, ...]]
"""The shape of each tensor of a state dict."""


@dataclass(frozen=True)
class Architecture(ABC):
    """One network: RGB 0..1 of shape (n, 3, h, w) to RGB of `scale` times the size.

    Attributes
    ----------
    features:
        Channels of the layers in between.
    blocks:
        How often the repeated part is repeated.
    scale:
        How much the network enlarges.
    """

    features: int
    blocks: int
    scale: int

    basicsr_name: ClassVar[str]
    """As basicsr's registry knows it."""
    tile: ClassVar[int]
    """Side in px of the largest square that is computed at once on a CPU."""
    pixels_per_pass: ClassVar[int]
    """Input px in one forward pass on a CPU, unless a single tile has more."""
    tile_on_gpu: ClassVar[int]
    pixels_per_pass_on_gpu: ClassVar[int]

    @classmethod
    @abstractmethod
    def infer(cls, shapes: Shapes) -> Self | None:
        """The architecture that a state dict of these shapes belongs to; none: another one."""

    @property
    @abstractmethod
    def halo(self) -> int:
        """Input px around a tile that are computed and thrown away, so that no seam shows."""

    @property
    def multiple_of(self) -> int:
        """The network takes sides that are a multiple of this."""
        return 1

    def options(self) -> dict[str, Any]:
        """The arguments of basicsr's class."""
        return {"num_in_ch": 3, "num_out_ch": 3, "num_feat": self.features}

    def __str__(self) -> str:
        return f"{type(self).__name__} x{self.scale} ({self.features} x {self.blocks})"


@dataclass(frozen=True)
class Compact(Architecture):
    """SRVGGNetCompact: convolutions at the input's size (Wang et al. 2021, arXiv:2107.10833)."""

    basicsr_name = "SRVGGNetCompact_basicsr"
    # Of more px the result of a layer takes over 32 MiB: glibc gives such memory back after each
    # layer, and with all that has to be cleared again torch does two thirds of the px in a second.
    tile = 360
    pixels_per_pass = 360 * 360
    tile_on_gpu = 768
    pixels_per_pass_on_gpu = 1 << 22

    @classmethod
    def infer(cls, shapes: Shapes) -> Self | None:
        first, slopes = shapes.get("body.0.weight", ()), shapes.get("body.1.weight", ())
        if len(first) != 4 or first[1] != 3 or slopes != first[:1]:
            return None
        # Convolutions and PReLUs take turns; the last convolution has no PReLU.
        last = _blocks(shapes) - 1
        scale = round((shapes.get(f"body.{last}.weight", first)[0] / 3) ** 0.5)
        return cls(first[0], last // 2 - 1, scale) if scale >= 2 else None

    @property
    def halo(self) -> int:
        """Each convolution of 3x3 reaches 1 px, a bicubic resize after them 2: nothing is
        approximated."""
        return self.blocks + 4

    def options(self) -> dict[str, Any]:
        return {
            **super().options(),
            "num_conv": self.blocks,
            "upscale": self.scale,
            "act_type": "prelu",
        }


@dataclass(frozen=True)
class RRDB(Architecture):
    """RRDBNet: residual-in-residual dense blocks (Wang et al. 2018, arXiv:1809.00219).

    Attributes
    ----------
    growth:
        Channels that each convolution of a dense block adds.
    """

    growth: int = 32

    basicsr_name = "RRDBNet"
    tile = 320
    pixels_per_pass = 1 << 16
    tile_on_gpu = 768
    pixels_per_pass_on_gpu = 1 << 20

    weight_reach: ClassVar[int] = 48
    """Its receptive field reaches 349 px, its weight lies near the centre: with this halo 99.9 % of
    the pixels beside a cut, and 99.99 % of all, are within 1/255 of the whole photo's (a photo cut
    in two). With 32 it was 97.7 %."""

    @classmethod
    def infer(cls, shapes: Shapes) -> Self | None:
        first = shapes.get("conv_first.weight", ())
        dense = shapes.get("body.0.rdb1.conv1.weight", ())
        if len(first) != 4 or len(dense) != 4:
            return None
        # Sides are halved into channels before the first convolution of an x2 network.
        scale = {3: 4, 12: 2}.get(first[1])
        return cls(first[0], _blocks(shapes), scale, dense[0]) if scale else None

    @property
    def multiple_of(self) -> int:
        return 4 // self.scale

    @property
    def halo(self) -> int:
        # 15 convolutions in a block; first and last of the trunk; those after the enlargements
        # reach less than 2 px of the input.
        reach = 15 * self.blocks + 4
        return min(reach, self.weight_reach) * self.multiple_of

    def options(self) -> dict[str, Any]:
        return {
            **super().options(),
            "num_block": self.blocks,
            "num_grow_ch": self.growth,
            "scale": self.scale,
        }


@dataclass(frozen=True)
class SRResNet(Architecture):
    """MSRResNet: SRGAN's generator without batch normalisation (Ledig et al. 2017,
    arXiv:1609.04802)."""

    basicsr_name = "MSRResNet"
    tile = 320
    pixels_per_pass = 1 << 16
    tile_on_gpu = 768
    pixels_per_pass_on_gpu = 1 << 20

    @classmethod
    def infer(cls, shapes: Shapes) -> Self | None:
        first = shapes.get("conv_first.weight", ())
        enlarging = shapes.get("upconv1.weight", ())
        if (
            len(first) != 4
            or first[1] != 3
            or len(enlarging) != 4
            or "body.0.conv1.weight" not in shapes
        ):
            return None
        if "upconv2.weight" in shapes:
            return cls(first[0], _blocks(shapes), 4)
        return cls(first[0], _blocks(shapes), round((enlarging[0] / first[0]) ** 0.5))

    @property
    def halo(self) -> int:
        """Two convolutions in a block, five outside: nothing is approximated."""
        return 2 * self.blocks + 6

    def options(self) -> dict[str, Any]:
        return {**super().options(), "num_block": self.blocks, "upscale": self.scale}


ARCHITECTURES: tuple[type[Architecture], ...] = (Compact, RRDB, SRResNet)


def infer(shapes: Shapes) -> Architecture | None:
    """The architecture of a state dict by the shapes of its tensors; none: none of ours."""
    found = (architecture.infer(shapes) for architecture in ARCHITECTURES)
    return next((architecture for architecture in found if architecture), None)


def _blocks(shapes: Shapes) -> int:
    numbers = (name.split(".")[1] for name in shapes if name.startswith("body."))
    return 1 + max(int(number) for number in numbers if number.isdigit())
