"""Whether the formulas of a plan hold: the same workers and load, simulated."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.capacity.figures import Figures
from pipeline.capacity.plan import Plan, simulated
from pipeline.capacity.queueing import held_up
from pipeline.capacity.service_times import POOLS, ServiceTimes
from pipeline.capacity.simulation import Load, simulate
from pipeline.queues import Lane

# A bulk lane that is nearly full has waits that no simulation of some minutes has seen all of.
FULL = 0.95
PARTS = 20
# Student's t, 19 degrees of freedom, both sides 95 %.
T = 2.093


@dataclass(frozen=True)
class Checked:
    """Waiting for one stage of a pool in one lane, at the busiest moment.

    Attributes:
        formula, simulated: mean seconds, of the stages that queue for what is scarce.
        low, high: 95 % interval of the simulated mean.
        formula_p95, simulated_p95: 95 of 100 are held up for less, in each stage of the pool. There
            is no such formula for the bulk lane.
    """

    pool: str
    lane: Lane
    formula: float
    simulated: float
    low: float
    high: float
    formula_p95: float | None
    simulated_p95: float


@dataclass(frozen=True)
class Check:
    """What a simulation of the busiest moment says.

    Attributes:
        rate: images a second that went through.
        arrived: images a second that came in.
    """

    images: int
    rate: float
    arrived: float
    rows: list[Checked]


def check(
    plan: Plan, times: ServiceTimes, figures: Figures, *, images: int, seed: int = 0
) -> Check:
    """Simulate the busiest moment of a plan, beside what its formulas say of it.

    The backfill comes in at its even rate, or as much of it as the pools have room for.
    """
    uploads = plan.demand.peak
    room = FULL * min(
        planned.workers * planned.images_per_second
        for pool, planned in plan.pools.items()
        if pool in POOLS
    )
    load = Load(uploads, max(0.0, min(plan.demand.bulk, room - uploads)))
    seen = simulate(*simulated(plan, times, figures), load, images=images, seed=seed)
    rows = []
    for pool, stages in POOLS.items():
        station = plan.pools[pool].station
        found = held_up(station, station.visits * load.interactive, station.visits * load.bulk)
        for lane, mean, p95 in (
            (Lane.INTERACTIVE, found.interactive, found.interactive_p95),
            (Lane.BULK, found.bulk, None),
        ):
            waits = seen.held_up(lane, *station.stages)
            if len(waits) >= PARTS:
                longest = max(_p95(seen.held_up(lane, stage)) for stage in stages)
                rows.append(Checked(pool, lane, mean, *_interval(waits), p95, longest))
    return Check(seen.images, seen.rate, load.interactive + load.bulk, rows)


def _interval(waits: Sequence[float]) -> tuple[float, float, float]:
    """The mean, and its interval by the means of parts in order of arrival (batch means).

    Waits one after the other are alike; parts of many of them hardly depend on each other.
    """
    size = len(waits) // PARTS
    means = [statistics.fmean(waits[part * size : (part + 1) * size]) for part in range(PARTS)]
    mean = statistics.fmean(means)
    half = T * statistics.stdev(means) / math.sqrt(PARTS)
    return mean, mean - half, mean + half


def _p95(waits: Sequence[float]) -> float:
    return sorted(waits)[int(0.95 * len(waits))] if waits else 0.0
