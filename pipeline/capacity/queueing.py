"""Waiting in front of several servers: Erlang's formula, and what general times make of it.

Two kinds of station. Where slots are what is scarce, all slots of a pool are servers of one queue,
and the lanes are served in their order. Where cores, a thread or a GPU are, the queue is in front
of these, inside each worker: the broker deals messages out in turn to processes with free slots,
and knows nothing of what waits behind a slot.

Sources: A. K. Erlang (1917); A. O. Allen, *Probability, Statistics, and Queueing Theory*, 2nd ed.
(1990), sec. 5.2 and 5.3, with the approximation of Allen and Cunneen; O. Kella and U. Yechiali,
European J. of Operational Research 20 (1985) 111-120, for lanes; J. D. C. Little (1961).
"""

import math
from dataclasses import dataclass

from pipeline.queues import Stage


def erlang_c(servers: int, offered: float) -> float:
    """Probability that an arrival of M/M/c has to wait.

    Args:
        offered: load in erlangs, arrivals a second times seconds of service.

    Returns:
        0..1; 1 where the servers cannot keep up.
    """
    if offered <= 0:
        return 0.0
    if offered >= servers:
        return 1.0
    # Erlang B by its recursion, which neither overflows nor cancels out.
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    utilisation = offered / servers
    return blocked / (1 - utilisation * (1 - blocked))


def mean_wait(
    servers: int,
    seconds: float,
    rate: float,
    *,
    scv: float = 1.0,
    arrivals_scv: float = 1.0,
) -> float:
    """Mean seconds before service, by Allen and Cunneen; exact for M/M/c and for M/G/1.

    C(c, a) s / (c (1 - rho)) (scv of arrivals + scv of services) / 2.

    Args:
        seconds: mean service time.
        rate: arrivals a second.
        scv: squared coefficient of variation of service times; 0: constant, 1: exponential.
        arrivals_scv: of the times between arrivals; 1: at random.

    Returns:
        Infinite where the servers cannot keep up.
    """
    utilisation = rate * seconds / servers
    if utilisation >= 1:
        return math.inf
    exponential = erlang_c(servers, rate * seconds) * seconds / servers / (1 - utilisation)
    return exponential * (arrivals_scv + scv) / 2


def lane_waits(
    servers: int, seconds: float, scv: float, interactive: float, bulk: float
) -> tuple[float, float]:
    """Mean seconds before service in each of two lanes of one queue; nothing is interrupted.

    With loads r1 and r = r1 + r2 of a server, and W = C(c, a) s/c (1 + scv)/2: W / (1 - r1) and
    W / ((1 - r1)(1 - r)). A bulk lane that the servers cannot keep up with keeps all of them busy.
    """
    first = interactive * seconds / servers
    whole = first + bulk * seconds / servers
    if first >= 1:
        return math.inf, math.inf
    scale = seconds / servers * (1 + scv) / 2
    waits = erlang_c(servers, min(whole, 1.0) * servers) * scale / (1 - first)
    return waits, waits / (1 - whole) if whole < 1 else math.inf


@dataclass(frozen=True)
class Station:
    """A pool of workers, as the formulas see it.

    Attributes:
        processes: how many.
        servers: of what is scarce in a process: cores, 1 for a thread or a GPU, or its slots.
        seconds: that one of these takes for one stage of an image.
        scv: of that.
        slots: of a process, for what queues here.
        own: seconds in a slot when nothing else runs.
        is_shared: slots are what is scarce.
        pass_seconds: of one forward pass on a GPU; 0: there is none.
        batch: most images that one forward pass takes.
        stages: of an image that queue here; none: it comes once.
    """

    processes: int
    servers: int
    seconds: float
    scv: float
    slots: int
    own: float
    is_shared: bool = False
    pass_seconds: float = 0.0
    batch: int = 1
    stages: tuple[Stage, ...] = ()

    @property
    def able(self) -> float:
        """Stages of images a second."""
        return self.processes * self.servers / self.seconds

    @property
    def visits(self) -> int:
        """Of an image."""
        return len(self.stages) or 1

    @property
    def images_per_second(self) -> float:
        """Through all stages that queue here."""
        return self.able / self.visits


@dataclass(frozen=True)
class HeldUp:
    """By how long a stage of an image takes longer than if it were alone.

    Attributes:
        utilisation: of what is scarce, both lanes together.
        interactive, bulk: mean seconds; infinite where the lane is never in balance.
        interactive_p95: 95 of 100 interactive ones are held up for less.
    """

    utilisation: float
    interactive: float
    bulk: float
    interactive_p95: float


def held_up(station: Station, interactive: float, bulk: float) -> HeldUp:
    """How long stages are held up in each lane, by arrivals a second at the station.

    Inside a worker lanes are mixed: only messages that wait for a slot have an order. Those dealt
    out in turn to n processes arrive at each at intervals whose squared coefficient of variation is
    1/n of that of all. Once the bulk lane is full, so are all slots, and each message shares its
    process with the others in it. Those that are held up are so for a time that is taken to be
    exponential, as it is in M/M/c.
    """
    rate, able = interactive + bulk, station.able
    if interactive >= able:
        return HeldUp(rate / able, math.inf, math.inf, math.inf)
    slots = station.processes * station.slots
    if station.is_shared:
        first, second = lane_waits(slots, station.own, station.scv, interactive, bulk)
        delayed = erlang_c(slots, min(rate, able) * station.own)
        return HeldUp(rate / able, first, second, _p95(first, delayed))
    # In slots that are all taken, a message takes as long as the process needs for all of them.
    crowded = max(0.0, station.slots * station.seconds / station.servers - station.own)
    turn, _ = lane_waits(slots, crowded + station.own, 1.0, interactive, math.inf)
    full = crowded + turn
    if rate >= able:
        return HeldUp(rate / able, full, math.inf, _p95(full, 1.0))
    each = rate / station.processes
    inside = mean_wait(
        station.servers,
        station.seconds,
        each,
        scv=station.scv,
        arrivals_scv=1 / station.processes,
    )
    # Of a GPU: a pass takes its time, however few images are in it.
    busy = min(1.0, each * station.pass_seconds)
    # What comes during a forward pass waits for its end, on the average for half of it.
    inside += busy * station.pass_seconds / 2
    # Those behind it in its batch end with it.
    inside += min(station.batch - 1, each * inside) * station.seconds / 2
    delayed = max(busy, erlang_c(station.servers, each * station.seconds))
    first = min(inside, full)
    return HeldUp(rate / able, first, inside, _p95(first, delayed))


def _p95(mean: float, delayed: float) -> float:
    """95th percentile where a share is held up, for exponential times, and the others are not."""
    if delayed <= 0.05 or not mean:
        return 0.0
    return mean / delayed * math.log(delayed / 0.05)
