"""Plots as numbers: what a template draws as SVG, so that pages need no script and no library.

Coordinates are those of a viewBox of ``WIDTH`` x ``HEIGHT``, y downwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.retraining.drift import Bins

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 36, 324, 12, 160
# Points of a curve: more would not be seen.
MOST_POINTS = 120


@dataclass(frozen=True)
class Tick:
    """A place on an axis, and what is written there."""

    at: float
    label: str


@dataclass(frozen=True)
class Bar:
    """A rectangle that stands on the x axis."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class BarPair:
    """The shares of both models in one bin, 0..1, as bars and as numbers."""

    low: float
    high: float
    champion: float
    challenger: float
    champion_bar: Bar
    challenger_bar: Bar


@dataclass(frozen=True)
class BarPlot:
    """Shares by bin, side by side."""

    pairs: list[BarPair]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


@dataclass(frozen=True)
class CurvePlot:
    """Two cumulative distributions as SVG points, and where they lie furthest apart.

    Attributes:
        champion: of a polyline.
        challenger: of another.
        gap_at: the score at which the distance is largest.
        gap: x, and both ends in y.
    """

    champion: str
    challenger: str
    gap_at: float
    gap: tuple[float, float, float]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


@dataclass(frozen=True)
class Range:
    """An interval with its middle, and a limit, as places on a line of 0 to 100."""

    low: float
    middle: float
    high: float
    limit: float | None
    zero: float | None


def bar_plot(bins: Bins) -> BarPlot:
    """Shares of both models in each bin of scores."""
    most = float(max(bins.expected.max(), bins.actual.max()))
    slot = (RIGHT - LEFT) / len(bins.expected)
    wide = slot * 0.38

    def bar(number: int, share: float, place: float) -> Bar:
        height = _round((BOTTOM - TOP) * share / most)
        x = _round(LEFT + slot * (number + 0.5) + place)
        return Bar(x, _round(BOTTOM - height), _round(wide), height)

    pairs = [
        BarPair(
            low=float(bins.edges[number]),
            high=float(bins.edges[number + 1]),
            champion=float(expected),
            challenger=float(actual),
            champion_bar=bar(number, expected, -wide - 0.5),
            challenger_bar=bar(number, actual, 0.5),
        )
        for number, (expected, actual) in enumerate(zip(bins.expected, bins.actual, strict=True))
    ]
    # The edges between bins; every other one, or they would run into each other.
    x_ticks = [
        Tick(_round(LEFT + slot * number), f"{bins.edges[number]:.2f}")
        for number in range(0, len(bins.edges), 2)
    ]
    y_ticks = [
        Tick(_round(BOTTOM - (BOTTOM - TOP) * share / most), f"{share:.0%}")
        for share in _steps(most)
    ]
    return BarPlot(pairs, x_ticks, y_ticks)


def curve_plot(champion: np.ndarray, challenger: np.ndarray) -> CurvePlot:
    """How large a share of the scores lies at or below each score.

    Args:
        champion: scores (N,), 0..1, at least one.
        challenger: scores (M,), the same.
    """
    ours, theirs = np.sort(champion), np.sort(challenger)
    places = np.unique(np.concatenate([ours, theirs]))
    below = [np.searchsorted(one, places, side="right") / len(one) for one in (ours, theirs)]
    widest = int(np.argmax(np.abs(below[0] - below[1])))
    shown = np.unique(np.linspace(0, len(places) - 1, MOST_POINTS).round().astype(int))
    shown = np.union1d(shown, [widest])

    def points(shares: np.ndarray) -> str:
        corners = [(0.0, 0.0)]
        for score, share in zip(places[shown], shares[shown], strict=True):
            corners += [(float(score), corners[-1][1]), (float(score), float(share))]
        corners.append((1.0, corners[-1][1]))
        return " ".join(f"{_x(score)},{_y(share)}" for score, share in corners)

    return CurvePlot(
        champion=points(below[0]),
        challenger=points(below[1]),
        gap_at=float(places[widest]),
        gap=(_x(places[widest]), _y(below[0][widest]), _y(below[1][widest])),
        x_ticks=[Tick(_x(score), f"{score:g}") for score in (0, 0.25, 0.5, 0.75, 1)],
        y_ticks=[Tick(_y(share), f"{share:.0%}") for share in (0, 0.5, 1)],
    )


def range_plot(
    low: float, middle: float, high: float, limit: float | None, span: Sequence[float] | None = None
) -> Range:
    """An interval on a line.

    Args:
        low: its lower end; ``middle`` and ``high`` likewise.
        limit: marked on the line.
        span: first and last value of the line; none: as much as it takes, with zero on it.
    """
    values = [low, middle, high, 0.0, *([] if limit is None else [limit])]
    first, last = span or (min(values), max(values))
    margin = 0.0 if span else 0.08 * ((last - first) or 1)
    first, last = first - margin, last + margin

    def place(value: float) -> float:
        return _round(100 * min(1.0, max(0.0, (value - first) / (last - first))))

    return Range(
        low=place(low),
        middle=place(middle),
        high=place(high),
        limit=None if limit is None else place(limit),
        zero=place(0.0) if first < 0 else None,
    )


def _x(score: float) -> float:
    return _round(LEFT + (RIGHT - LEFT) * min(1.0, max(0.0, float(score))))


def _y(share: float) -> float:
    return _round(BOTTOM - (BOTTOM - TOP) * float(share))


def _steps(most: float) -> list[float]:
    """Three to five round shares from 0 up to ``most``."""
    step = next((one for one in (0.01, 0.02, 0.05, 0.1, 0.2) if most / one < 5), 0.25)
    return [number * step for number in range(int(most / step) + 1)]


def _round(value: float) -> float:
    return round(float(value), 1)
