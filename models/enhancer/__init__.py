"""Super-resolution: a photo in, the same photo larger and cleaner out.

`Enhancer` is what callers see. A network behind it states what it needs (scales, halo, tile,
half precision) as data on its class; cutting, batching and putting together are the same for all.
"""

import threading
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from models.base import Model
from models.enhancer.tiling import Tile, plan
from models.errors import UnsuitableInput

__all__ = ["Enhancer"]


class _Piece(NamedTuple):
    image: int
    tile: Tile


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

    scales: ClassVar[tuple[int, ...]]
    halo: ClassVar[int]
    """Input px around a tile that are computed and thrown away, so that no seam shows."""
    multiple_of: ClassVar[int] = 1
    """The network takes sides that are a multiple of this; others are padded and cropped."""
    half: ClassVar[bool] = False
    """Whether the network keeps its quality in half precision (used on GPUs only)."""
    tile: int
    pixels_per_pass: int
    """Upper bound on the input px in one forward pass, which bounds its activations."""

    def __init__(
        self, *, weights: Path, threads: int, tile: int | None = None, tiles_per_pass: int = 8
    ) -> None:
        super().__init__(weights=weights, threads=threads)
        if tile is not None:
            if tile <= 2 * self.halo:
                raise UnsuitableInput(f"a tile must be larger than its halos, {2 * self.halo} px")
            self.tile = tile
        self.tiles_per_pass = max(1, tiles_per_pass)
        self.forward_passes = 0
        """Passes through the network so far, of all threads together."""
        self._counting = threading.Lock()

    def __call__(self, images: Sequence[np.ndarray], scale: int) -> list[np.ndarray]:
        """Returns each image at exactly `scale` times its size.

        Images are RGB uint8 of shape (height, width, 3), any sizes together. Tiles of one shape
        share forward passes, whichever image they come from.

        Raises `UnsuitableInput`, and `OutOfMemory` when a single tile does not fit.
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
        by_shape: dict[tuple[int, int], list[_Piece]] = defaultdict(list)
        for index, image in enumerate(images):
            for tile in plan(image.shape[0], image.shape[1], self.tile, self.halo):
                by_shape[tile.shape].append(_Piece(index, tile))

        enlarged = [
            np.empty((image.shape[0] * scale, image.shape[1] * scale, 3), dtype=np.uint8)
            for image in images
        ]
        for (height, width), pieces in by_shape.items():
            fitting = max(1, min(self.tiles_per_pass, self.pixels_per_pass // (height * width)))
            for start in range(0, len(pieces), fitting):
                batch = pieces[start : start + fitting]
                pixels = np.stack([piece.tile.cut(images[piece.image]) for piece in batch])
                for piece, result in zip(
                    batch, self._enlarge(self._pad(pixels), scale), strict=True
                ):
                    piece.tile.put(
                        result[: height * scale, : width * scale], enlarged[piece.image], scale
                    )
        return enlarged

    @abstractmethod
    def _enlarge(self, pixels: np.ndarray, scale: int) -> np.ndarray:
        """One forward pass: uint8 (n, h, w, 3) to uint8 (n, h * scale, w * scale, 3)."""

    def _count_pass(self) -> None:
        with self._counting:
            self.forward_passes += 1

    def _pad(self, pixels: np.ndarray) -> np.ndarray:
        bottom, right = (-side % self.multiple_of for side in pixels.shape[1:3])
        if not (bottom or right):
            return pixels
        return np.pad(pixels, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="edge")
