"""Super-resolution: a photo in, the same photo larger and cleaner out.

`Enhancer` is what callers see. A network behind it states what it needs (scales, halo, tile, the
multiple that its sides must be of); cutting, batching and putting together are the same for all.
"""

import logging
import threading
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.base import Model
from models.enhancer.tiling import Tile, plan
from models.errors import OutOfMemory, UnsuitableInput

__all__ = ["Enhancer"]


log = logging.getLogger(__name__)


class _Piece(NamedTuple):
    image: int
    tile: Tile


class _Limits(NamedTuple):
    """What bounds the memory of a forward pass, in px of the input."""

    tile: int
    pixels_per_pass: int


class Enhancer(Model):
    """Enlarges RGB images by a whole factor.

    Parameters
    ----------
    tile:
        Side in px of the largest square the network sees at once; a larger image is cut. None
        takes the class's own. Bounds memory.
    tiles_per_pass:
        Upper bound on the tiles in one forward pass.
    """

    tile: int
    pixels_per_pass: int
    """Upper bound on the input px in one forward pass, which bounds its activations."""

    def __init__(
        self, *, weights: Path, threads: int, tile: int | None = None, tiles_per_pass: int = 8
    ) -> None:
        super().__init__(weights=weights, threads=threads)
        self._chosen_tile = tile
        self._found_limits: _Limits | None = None
        self.tiles_per_pass = max(1, tiles_per_pass)
        self.forward_passes = 0
        """Passes through the network so far, of all threads together."""
        self._counting = threading.Lock()

    @property
    @abstractmethod
    def scales(self) -> tuple[int, ...]:
        """The factors it enlarges by."""

    @property
    @abstractmethod
    def halo(self) -> int:
        """Input px around a tile that are computed and thrown away, so that no seam shows."""

    @property
    def multiple_of(self) -> int:
        """The network takes sides that are a multiple of this; others are padded and cropped."""
        return 1

    @property
    def threads_sharing(self) -> int:
        """How many threads work on a tile each, side by side; 1: all of them on one pass."""
        return 1

    @property
    def removes_noise(self) -> bool:
        """Whether how much noise it removes was chosen, so that nothing else need remove it."""
        return False

    def __call__(self, images: Sequence[np.ndarray], scale: int) -> list[np.ndarray]:
        """Returns each image at exactly `scale` times its size.

        Images are RGB uint8 of shape (height, width, 3), any sizes together. Tiles of one shape
        share forward passes, whichever image they come from. When the device's memory does not
        suffice, passes and then tiles are halved, for this call and the later ones.

        Raises `UnsuitableInput`, and `OutOfMemory` when the smallest tile does not fit.
        """
        if scale not in self.scales:
            raise UnsuitableInput(f"{self.name} enlarges by {self.scales}, not by {scale}")
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise UnsuitableInput(f"not an RGB uint8 image: {image.dtype} {image.shape}")
            if 0 in image.shape:
                raise UnsuitableInput(f"an empty image: {image.shape}")
        # The device decides the tile, and is known once the network is loaded.
        self.load()
        if self._chosen_tile is not None and self._chosen_tile <= 2 * self.halo:
            raise UnsuitableInput(f"a tile must be larger than its halos, {2 * self.halo} px")
        while True:
            limits = self._limits()
            try:
                return self._within(limits, images, scale)
            except OutOfMemory:
                self._shrink(limits)

    @abstractmethod
    def _enlarge(self, passes: Iterable[np.ndarray], scale: int) -> Iterator[np.ndarray]:
        """Forward passes: each, uint8 (n, h, w, 3), in turn as uint8 (n, h * scale, w * scale, 3).

        Raises `OutOfMemory` when one does not fit, with all that it took freed.
        """

    def _within(
        self, limits: _Limits, images: Sequence[np.ndarray], scale: int
    ) -> list[np.ndarray]:
        padded = [self._pad(image) for image in images]
        by_shape: dict[tuple[int, int], list[_Piece]] = defaultdict(list)
        threads = -(-self.threads_sharing // max(1, len(images)))
        for index, image in enumerate(padded):
            height, width = image.shape[:2]
            for tile in plan(height, width, limits.tile, self.halo, self.multiple_of, threads):
                by_shape[tile.shape].append(_Piece(index, tile))

        enlarged = [
            np.empty((image.shape[0] * scale, image.shape[1] * scale, 3), dtype=np.uint8)
            for image in padded
        ]
        passes: list[list[_Piece]] = []
        # The largest first, so that threads that share them end together.
        for (height, width), pieces in sorted(by_shape.items(), key=_pixels, reverse=True):
            fitting = max(1, min(self.tiles_per_pass, limits.pixels_per_pass // (height * width)))
            passes += (pieces[at : at + fitting] for at in range(0, len(pieces), fitting))
        results = self._enlarge((self._cut(batch, padded) for batch in passes), scale)
        for batch, tiles in zip(passes, results, strict=True):
            for piece, tile in zip(batch, tiles, strict=True):
                piece.tile.put(tile, enlarged[piece.image], scale)
        return [
            result[: image.shape[0] * scale, : image.shape[1] * scale]
            for image, result in zip(images, enlarged, strict=True)
        ]

    def _limits(self) -> _Limits:
        with self._counting:
            if self._found_limits is None:
                self._found_limits = _Limits(self._chosen_tile or self.tile, self.pixels_per_pass)
            return self._found_limits

    def _shrink(self, limits: _Limits) -> None:
        """Allow less in a pass than what has just not fitted; raises `OutOfMemory` at the end."""
        tile, pixels = limits
        if pixels > tile * tile:
            smaller = _Limits(tile, max(tile * tile, pixels // 2))
        elif tile // 2 > 2 * self.halo:
            smaller = _Limits(tile // 2, (tile // 2) ** 2)
        else:
            raise OutOfMemory(f"a tile of {tile} px, the smallest, does not fit into memory")
        with self._counting:
            # Another thread may have met the same, and gone further.
            if self._found_limits == limits:
                self._found_limits = smaller
                log.warning("out of memory: %s instead of %s from now on", smaller, limits)

    def _cut(self, batch: Sequence[_Piece], images: Sequence[np.ndarray]) -> np.ndarray:
        with self._counting:
            self.forward_passes += 1
        return np.stack([piece.tile.cut(images[piece.image]) for piece in batch])

    def _pad(self, image: np.ndarray) -> np.ndarray:
        bottom, right = (-side % self.multiple_of for side in image.shape[:2])
        if not (bottom or right):
            return image
        return np.pad(image, ((0, bottom), (0, right), (0, 0)), mode="edge")


def _pixels(found: tuple[tuple[int, int], list[_Piece]]) -> int:
    height, width = found[0]
    return height * width
