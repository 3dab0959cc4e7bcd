"""Cutting an image into overlapping tiles of one shape, and putting the results together."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

SHARING_COSTS_AT_MOST = 1.25
"""Times an image's own px that are computed where it is cut only for threads to share it."""


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


def plan(
    height: int, width: int, tile: int, halo: int, multiple_of: int = 1, threads: int = 1
) -> list[Tile]:
    """The tiles of an image: all of one shape, so that they can share forward passes.

    No tile has more px than a square of the side `tile`; an image that has not, either, is cut only
    for several `threads` to share it, where little is computed twice for that. Of the ways to cut a
    larger one into tiles that are no longer than `tile` or the image's shorter side, the one is
    taken with the fewest px for the thread that has most of them. Every kept pixel is at least
    `halo` px away from any edge of its tile that is not an edge of the image. Everything begins and
    ends at a multiple of `multiple_of`, as the image's own sides must.
    """
    unit = multiple_of
    height, width, tile, halo = height // unit, width // unit, tile // unit, -(-halo // unit)
    if height * width <= tile * tile:
        down, across = _shared(height, width, halo, threads)
    else:
        down, across = _least(height, width, tile, halo, threads)
    return [
        Tile(rows, columns)
        for rows in _spans(height, down, halo, unit)
        for columns in _spans(width, across, halo, unit)
    ]


def _shared(height: int, width: int, halo: int, threads: int) -> tuple[int, int]:
    """Tiles down and across: strips of an image, one for each thread or for fewer."""
    most = SHARING_COSTS_AT_MOST * max(height, width)
    count = threads
    while count > 1 and count * _side(max(height, width), count, halo) > most:
        count -= 1
    return (count, 1) if height > width else (1, count)


def _least(height: int, width: int, tile: int, halo: int, threads: int) -> tuple[int, int]:
    """Tiles down and across, of those that keep to the limits.

    With the fewest px for the thread that has most of them; then with the fewest in all.
    """
    longest = max(tile, min(height, width))
    ways = {}
    for across in range(1, _count(width, max(tile * tile // longest, 2 * halo + 1), halo) + 1):
        wide = _side(width, across, halo)
        high = min(longest, tile * tile // wide)
        if wide <= longest and (high >= height or high > 2 * halo):
            down = _count(height, high, halo)
            pixels, count = _side(height, down, halo) * wide, down * across
            ways[down, across] = -(-count // threads) * pixels, count * pixels
    return min(ways, key=ways.__getitem__)


def _count(size: int, side: int, halo: int) -> int:
    """How many tiles of at most that side there must be along an axis."""
    return 1 if size <= side else -(-(size - 2 * halo) // (side - 2 * halo))


def _side(size: int, count: int, halo: int) -> int:
    """No larger than that number of tiles needs: less is computed twice."""
    return -(-(size + (count - 1) * 2 * halo) // count)


def _spans(size: int, count: int, halo: int, unit: int) -> list[Span]:
    if count == 1:
        return [Span(0, size * unit, 0, size * unit)]
    side = _side(size, count, halo)
    starts = [(size - side) * index // (count - 1) for index in range(count)]
    borders = [
        0,
        *((before + side + after) // 2 for before, after in pairwise(starts)),
        size,
    ]
    return [
        Span(*(edge * unit for edge in (start, start + side, borders[index], borders[index + 1])))
        for index, start in enumerate(starts)
    ]
