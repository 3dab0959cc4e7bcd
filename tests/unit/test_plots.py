"""Plots as numbers."""

from itertools import pairwise

import numpy as np
import pytest

from api.plots import (
    BOTTOM,
    LEFT,
    MOST_POINTS,
    RIGHT,
    TOP,
    bar_plot,
    curve_plot,
    range_plot,
)
from pipeline.retraining.drift import binned, kolmogorov_smirnov

RANDOM = np.random.default_rng(3)
OURS, THEIRS = RANDOM.beta(2, 3, 2000), RANDOM.beta(3, 2, 1500)


def points(line: str) -> list[tuple[float, float]]:
    return [tuple(map(float, point.split(","))) for point in line.split()]


class TestBars:
    def test_stand_on_the_axis_as_high_as_their_share(self) -> None:
        plot = bar_plot(binned(OURS, THEIRS))
        heights = {round(pair.challenger, 6): pair.challenger_bar for pair in plot.pairs}
        most = max(max(pair.champion, pair.challenger) for pair in plot.pairs)
        for share, bar in heights.items():
            assert bar.height == pytest.approx((BOTTOM - TOP) * share / most, abs=0.06)
            assert bar.y + bar.height == pytest.approx(BOTTOM, abs=0.11)

    def test_lie_beside_each_other_within_the_axes(self) -> None:
        plot = bar_plot(binned(OURS, THEIRS))
        bars = [bar for pair in plot.pairs for bar in (pair.champion_bar, pair.challenger_bar)]
        assert len(bars) == 20
        assert min(bar.x for bar in bars) >= LEFT
        assert max(bar.x + bar.width for bar in bars) <= RIGHT
        for one, other in pairwise(bars):
            assert one.x + one.width <= other.x + 0.2

    def test_have_a_scale_of_round_shares(self) -> None:
        ticks = bar_plot(binned(OURS, THEIRS)).y_ticks
        assert 3 <= len(ticks) <= 6
        assert (ticks[0].at, ticks[0].label) == (BOTTOM, "0%")
        assert all(TOP <= tick.at <= BOTTOM for tick in ticks)

    def test_are_drawn_of_scores_that_are_all_the_same(self) -> None:
        same = np.full(10, 0.5)
        plot = bar_plot(binned(same, same))
        assert all(np.isfinite(pair.champion_bar.height) for pair in plot.pairs)


class TestCurves:
    def test_rise_from_nothing_to_all(self) -> None:
        plot = curve_plot(OURS, THEIRS)
        for line in (plot.champion, plot.challenger):
            corners = points(line)
            assert corners[0] == (LEFT, BOTTOM)
            assert corners[-1] == (RIGHT, TOP)
            assert all(x <= later for (x, _), (later, _) in pairwise(corners))
            assert all(y >= later for (_, y), (_, later) in pairwise(corners))
            assert len(corners) <= 2 * MOST_POINTS + 4

    def test_mark_where_they_lie_furthest_apart(self) -> None:
        plot = curve_plot(OURS, THEIRS)
        statistic, _ = kolmogorov_smirnov(OURS, THEIRS)
        x, one, other = plot.gap
        assert abs(one - other) == pytest.approx((BOTTOM - TOP) * statistic, abs=0.2)
        assert x == pytest.approx(LEFT + (RIGHT - LEFT) * plot.gap_at, abs=0.1)
        assert (x, one) in points(plot.champion)
        assert (x, other) in points(plot.challenger)


class TestRanges:
    def test_keep_their_order_and_show_nothing_and_the_limit(self) -> None:
        found = range_plot(-0.01, 0.03, 0.07, 0.02)
        places = [found.low, found.zero, found.limit, found.middle, found.high]
        assert places == sorted(places)
        assert 0 < found.low < found.high < 100

    def test_lie_on_a_given_line(self) -> None:
        found = range_plot(0.8, 0.9, 0.95, 0.7, span=(0, 1))
        assert (found.low, found.middle, found.high, found.limit) == (80, 90, 95, 70)
        assert found.zero is None

    def test_of_one_point_are_no_division_by_nothing(self) -> None:
        assert range_plot(0, 0, 0, None).middle == 50
