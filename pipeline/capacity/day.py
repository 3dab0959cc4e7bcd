"""The course of a day: how much waits in each queue, hour by hour.

A fluid model: queues fill at the rates that images arrive at and empty at what their pool can do,
uploads first. It shows what builds up while more comes in than goes out; what waits by chance while
a pool keeps up is added from the queueing formula.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from pipeline.capacity.demand import DAY, Demand
from pipeline.capacity.queueing import Station, held_up
from pipeline.capacity.service_times import POOLS
from pipeline.graph import STEPS
from pipeline.queues import Lane, Stage

STEP = 300.0
# What is left over from the day before shows on the second.
DAYS = 2
MOST_BALANCED = 0.98


@dataclass
class Course:
    """A day in steps of five minutes.

    Attributes:
        hours: of each step.
        uploads, bulk: arrivals a second.
        through: images a second that left the last stage.
        depth: images that wait in front of each pool, by lane.
    """

    hours: list[float] = field(default_factory=list)
    uploads: list[float] = field(default_factory=list)
    bulk: list[float] = field(default_factory=list)
    through: list[float] = field(default_factory=list)
    depth: dict[tuple[str, Lane], list[float]] = field(default_factory=dict)


def course(demand: Demand, stations: Mapping[str, Station]) -> Course:
    """How queues fill and empty on one of the days of a backfill, or on any day without one.

    The bulk lane may hold more than the broker should: then the rest waits where it comes from.
    """
    queues = {(stage, lane): 0.0 for stage in Stage for lane in Lane}
    joined = dict.fromkeys(Lane, 0.0)
    found = Course(depth={(pool, lane): [] for pool in POOLS for lane in Lane})
    steps = int(DAY / STEP)
    for number in range(DAYS * steps):
        hour = number % steps * STEP / 3600
        uploads = demand.uploads(hour)
        served = _serve(queues, stations)
        if number >= (DAYS - 1) * steps:
            _note(found, hour, uploads, demand.bulk, served, queues, stations)
        queues[Stage.ENHANCE, Lane.INTERACTIVE] += uploads * STEP
        queues[Stage.ENHANCE, Lane.BULK] += demand.bulk * STEP
        _hand_on(queues, served, joined)
    return found


def _serve(
    queues: dict[tuple[Stage, Lane], float], stations: Mapping[str, Station]
) -> dict[tuple[Stage, Lane], float]:
    """Take out of the queues what their pools can do in one step, uploads first."""
    served = {}
    for pool, stages in POOLS.items():
        able = stations[pool].images_per_second * len(stages) * STEP
        for lane in Lane:
            waits = sum(queues[stage, lane] for stage in stages)
            share = min(1.0, able / waits) if waits else 0.0
            for stage in stages:
                served[stage, lane] = queues[stage, lane] * share
                queues[stage, lane] -= served[stage, lane]
            able -= waits * share
    return served


def _hand_on(
    queues: dict[tuple[Stage, Lane], float],
    served: Mapping[tuple[Stage, Lane], float],
    ahead: dict[Lane, float],
) -> None:
    """Put what has been served into the next queues; what is joined goes on as the slower half.

    Args:
        ahead: how much more has been tagged than described so far.
    """
    for before, after in pairwise(STEPS):
        for lane in Lane:
            if len(before) == 1:
                through = served[before[0], lane]
            else:
                tagged, described = (served[stage, lane] for stage in before)
                was, now = ahead[lane], ahead[lane] + tagged - described
                # Those that have both halves: the lesser of the two sums.
                through = tagged - max(0.0, now) + max(0.0, was)
                ahead[lane] = now
            for stage in after:
                queues[stage, lane] += through


def _note(
    found: Course,
    hour: float,
    uploads: float,
    bulk: float,
    served: Mapping[tuple[Stage, Lane], float],
    queues: Mapping[tuple[Stage, Lane], float],
    stations: Mapping[str, Station],
) -> None:
    found.hours.append(hour)
    found.uploads.append(uploads)
    found.bulk.append(bulk)
    found.through.append(sum(served[Stage.ALT_TEXT, lane] for lane in Lane) / STEP)
    for pool, stages in POOLS.items():
        station = stations[pool]
        # Not every stage queues for what is scarce.
        share = station.visits / len(stages)
        rates = [share * _visits(served, stages, lane) for lane in Lane]
        # Of a pool that works a queue off, which is not in balance, as if it nearly were.
        most = max(0.0, MOST_BALANCED * station.able - rates[0])
        chance = held_up(station, rates[0], min(rates[1], most))
        # Little's law.
        beside = {
            Lane.INTERACTIVE: rates[0] * chance.interactive,
            Lane.BULK: rates[1] * chance.bulk if rates[1] else 0.0,
        }
        for lane in Lane:
            left = sum(queues[stage, lane] for stage in stages)
            by_chance = beside[lane] if math.isfinite(beside[lane]) else 0.0
            found.depth[pool, lane].append(max(left, by_chance))


def _visits(
    served: Mapping[tuple[Stage, Lane], float], stages: Sequence[Stage], lane: Lane
) -> float:
    return sum(served[stage, lane] for stage in stages) / STEP
