"""Cutting an image into overlapping tiles of one shape, and putting the results together."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Span(NamedTuple):
    """One tile along one axis, in input px: what the network sees, and what is kept of it."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


class Tile(NamedTuple):
    rows: Span
    columns: Span

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def cut(self, image: np.ndarray) -> np.ndarray:
        rows, columns = self.rows, self.columns
        return image[rows.start : rows.stop, columns.start : columns.stop]

    def put(self, result: np.ndarray, target: np.ndarray, scale: int) -> None:
        """Writes the kept part of an enlarged tile to its place in the enlarged image."""
        rows, columns = self.rows, self.columns
        target[
            rows.keep_start * scale : rows.keep_stop * scale,
            columns.keep_start * scale : columns.keep_stop * scale,
        ] = result[
            (rows.keep_start - rows.start) * scale : (rows.keep_stop - rows.start) * scale,
            (columns.keep_start - columns.start) * scale : (columns.keep_stop - columns.start)
            * scale,
        ]


def plan(height: int, width: int, tile: int, halo: int, multiple_of: int = 1) -> list[Tile]:
    """The tiles of an image: all of one shape, so that they can share forward passes.

    An image of no more px than a tile is not cut. Every kept pixel is at least `halo` px away from
    any edge of its tile that is not an edge of the image. Everything begins and ends at a multiple
    of `multiple_of`, as the image's own sides must.
    """
    if height * width <= tile * tile:
        return [Tile(Span(0, height, 0, height), Span(0, width, 0, width))]
    return [
        Tile(rows, columns)
        for rows in _spans(height, tile, halo, multiple_of)
        for columns in _spans(width, tile, halo, multiple_of)
    ]


def _spans(size: int, tile: int, halo: int, multiple_of: int) -> list[Span]:
    if multiple_of > 1:
        # The same in larger units.
        units = _spans(size // multiple_of, tile // multiple_of, -(-halo // multiple_of), 1)
        return [Span(*(edge * multiple_of for edge in span)) for span in units]
    if size <= tile:
        return [Span(0, size, 0, size)]
    count = -(-(size - 2 * halo) // (tile - 2 * halo))
    # No larger than this number of tiles needs: less is computed twice.
    side = -(-(size + (count - 1) * 2 * halo) // count)
    starts = [(size - side) * index // (count - 1) for index in range(count)]
    borders = [
        0,
        *((before + side + after) // 2 for before, after in pairwise(starts)),
        size,
    ]
    return [
        Span(start, start + side, borders[index], borders[index + 1])
        for index, start in enumerate(starts)
    ]
