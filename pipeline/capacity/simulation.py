"""The six stages as a discrete-event simulation, which the formulas and real runs are set against.

An image waits for a slot of a worker that takes from the stage's queue; in the slot it computes,
computes once more in the one thread that its process has for forward passes, and waits for stores
and servers. Tagging and describing run side by side and are joined. Cores are shared: by the slots
of a process, by the processes of a machine, or by both.
"""

import random
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import simpy

from pipeline.capacity.service_times import StageTime
from pipeline.graph import STEPS
from pipeline.queues import Lane, Stage, shared_out

Steps = Generator[simpy.Event, Any, None]

# The share of images at the beginning that is not counted: the queues fill first.
WARM_UP = 0.2
PARTS = 20


@dataclass(frozen=True)
class Workers:
    """Worker processes that are alike.

    Attributes:
        stages: whose queues they take from.
        slots: messages that a process works at, at a time.
        processes: how many there are.
        cores: most that a process uses at a time; none: as many as its machine has.
        are_shared_out: each stage has slots of its own, as on RabbitMQ; otherwise whatever comes
            first takes one, as on Valkey.
    """

    stages: tuple[Stage, ...]
    slots: int
    processes: int = 1
    cores: int | None = None
    are_shared_out: bool = False

    @property
    def shares(self) -> dict[tuple[Stage, ...], int]:
        """Slots of a process, by the stages that have them together."""
        if not self.are_shared_out:
            return {self.stages: self.slots}
        own = shared_out(self.slots, [stage.value for stage in self.stages])
        return {(stage,): own[stage.value] for stage in self.stages}


@dataclass(frozen=True)
class Load:
    """Images that arrive: at random in either lane, or always as many as are in flight.

    Attributes:
        interactive, bulk: arrivals a second.
        in_flight: images that are kept in flight instead; each that is through is followed by
            another one.
        is_finite: no more of these come in than are simulated, and the run is counted from its
            beginning to its end.
    """

    interactive: float = 0.0
    bulk: float = 0.0
    in_flight: int = 0
    is_finite: bool = False


@dataclass
class Outcome:
    """What was seen once the queues had filled.

    Attributes:
        images: that were counted.
        seconds: that it took, of simulated time.
        rates: images a second in each of equal parts of that time.
        waits: when each message arrived, its stage and lane, and the seconds that it was held up:
            for a slot, a core, a forward pass, those of others in its batch. In order of arrival.
        busy: of the machine's cores, a share; 0 where there is none that all share.
    """

    images: int = 0
    seconds: float = 0.0
    rates: list[float] = field(default_factory=list)
    waits: list[tuple[float, Stage, Lane, float]] = field(default_factory=list)
    busy: float = 0.0

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds if self.seconds else 0.0

    def held_up(self, lane: Lane, *stages: Stage) -> list[float]:
        """Seconds of each message of these stages, in order of arrival."""
        return [wait for _, stage, of, wait in self.waits if of is lane and stage in stages]


class _Process:
    """A worker process: the threads that it has one of, its cores."""

    def __init__(self, environment: simpy.Environment, workers: Workers) -> None:
        self.cores = simpy.Resource(environment, workers.cores) if workers.cores else None
        self.batches = {stage: _Batches(environment) for stage in workers.stages}
        self.gpu = simpy.Resource(environment, 1)


class _Batches:
    """What waits for the next forward pass."""

    def __init__(self, environment: simpy.Environment) -> None:
        self.thread = simpy.Resource(environment, 1)
        self.waiting: deque[tuple[float, simpy.Event]] = deque()


class _Slots:
    """The slots that workers that are alike have for the same stages."""

    def __init__(
        self, environment: simpy.Environment, processes: Sequence[_Process], each: int
    ) -> None:
        self.all = simpy.PriorityResource(environment, each * len(processes))
        self._free = dict.fromkeys(processes, each)
        self._ring = deque(processes)

    def take(self) -> _Process:
        """The next process in turn that has a free slot, as a broker deals messages out."""
        while not self._free[self._ring[0]]:
            self._ring.rotate(-1)
        process = self._ring[0]
        self._ring.rotate(-1)
        self._free[process] -= 1
        return process

    def give_back(self, process: _Process) -> None:
        """A slot that was taken."""
        self._free[process] += 1


def _slots(environment: simpy.Environment, workers: Workers) -> dict[Stage, _Slots]:
    processes = [_Process(environment, workers) for _ in range(workers.processes)]
    shares = (
        (together, _Slots(environment, processes, n)) for together, n in workers.shares.items()
    )
    return {stage: slots for together, slots in shares for stage in together}


class _Simulation:
    def __init__(
        self,
        times: Mapping[Stage, StageTime],
        workers: Sequence[Workers],
        cores: int | None,
        images: int,
        beside: float,
        quantum: float | None,
        dice: random.Random,
    ) -> None:
        self.environment = simpy.Environment()
        self.cores = simpy.Resource(self.environment, cores) if cores else None
        self.times, self.beside, self.quantum, self.dice = times, beside, quantum, dice
        self.slots: dict[Stage, _Slots] = {}
        for alike in workers:
            self.slots |= _slots(self.environment, alike)
        self.wanted, self.begun = images, 0
        self.through: list[float] = []
        self.computed: list[tuple[float, float]] = []
        self.waits: list[tuple[float, Stage, Lane, float]] = []
        self.ended = self.environment.event()

    def arrive(self, rate: float, lane: Lane) -> Steps:
        while True:
            yield self.environment.timeout(self.dice.expovariate(rate))
            self.environment.process(self.image(lane))

    def follow(self, is_finite: bool) -> Steps:
        """One of those in flight, and those that come after it."""
        while not is_finite or self.begun < self.wanted:
            self.begun += 1
            yield self.environment.process(self.image(Lane.INTERACTIVE))

    def image(self, lane: Lane) -> Steps:
        if self.beside:
            yield from self._compute(self.beside, None)
        for step in STEPS:
            if len(step) == 1:
                yield from self._stage(step[0], lane)
            else:
                side_by_side = [self.environment.process(self._stage(one, lane)) for one in step]
                yield self.environment.all_of(side_by_side)
        self.through.append(self.environment.now)
        if len(self.through) == self.wanted:
            self.ended.succeed()

    def _stage(self, stage: Stage, lane: Lane) -> Steps:
        time, slots = self.times[stage], self.slots[stage]
        if not time.seconds:
            return
        arrived = self.environment.now
        with slots.all.request(priority=lane) as slot:
            yield slot
            process = slots.take()
            times = self._drawn(time.scv)
            if time.cpu_seconds:
                yield from self._compute(time.cpu_seconds * times, process)
            if time.serial_cpu_seconds or time.gpu_seconds:
                yield from self._forward(time, times, process.batches[stage], process)
            if time.wait_seconds:
                yield self.environment.timeout(time.wait_seconds * times)
            slots.give_back(process)
        own = (time.core_seconds + time.wait_seconds) * times + time.gpu_seconds
        self.waits.append((arrived, stage, lane, self.environment.now - arrived - own))

    def _forward(
        self, time: StageTime, times: float, batches: _Batches, process: _Process
    ) -> Steps:
        """Go through the one thread for it, together with whatever waits by then."""
        done = self.environment.event()
        batches.waiting.append((times, done))
        with batches.thread.request() as turn:
            yield turn
            if not done.triggered:
                count = min(time.batch, len(batches.waiting))
                batch = [batches.waiting.popleft() for _ in range(count)]
                if time.serial_cpu_seconds:
                    whole = sum(times for times, _ in batch)
                    yield from self._compute(time.serial_cpu_seconds * whole, process)
                if time.gpu_seconds:
                    with process.gpu.request() as gpu:
                        yield gpu
                        yield self.environment.timeout(time.gpu_seconds)
                for _, one in batch:
                    one.succeed()
        yield done

    def _compute(self, seconds: float, process: _Process | None) -> Steps:
        """Be on a core for so long; every quantum it is the next one's turn."""
        left = seconds
        own = process.cores if process else None
        while left > 0:
            piece = min(left, self.quantum or left)
            with _turn(own) as first, _turn(self.cores) as second:
                if first:
                    yield first
                if second:
                    yield second
                yield self.environment.timeout(piece)
            self.computed.append((self.environment.now, piece))
            left -= piece

    def _drawn(self, scv: float) -> float:
        """A factor of mean 1 with that squared coefficient of variation (gamma)."""
        return self.dice.gammavariate(1 / scv, scv) if scv > 0 else 1.0


class _NoTurn:
    """In the place of a request where nothing is shared."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _turn(resource: simpy.Resource | None) -> Any:
    return resource.request() if resource else _NoTurn()


def simulate(
    times: Mapping[Stage, StageTime],
    workers: Sequence[Workers],
    load: Load,
    *,
    images: int,
    cores: int | None = None,
    beside: float = 0.0,
    quantum: float | None = None,
    seed: int = 0,
) -> Outcome:
    """Run images through the stages until so many are through.

    Args:
        workers: every stage is taken from by one of them.
        cores: that all processes share; none: each has its own.
        beside: seconds on a core for each image outside the workers: broker, producer.
        quantum: seconds after which those who compute take turns; none: each to its end.
        seed: the same seed gives the same course.
    """
    missing = set(times) - {stage for one in workers for stage in one.stages}
    if missing:
        raise ValueError(f"nobody takes from {', '.join(sorted(missing))}")
    dice = random.Random(seed)
    run = _Simulation(times, workers, cores, images, beside, quantum, dice)
    for rate, lane in ((load.interactive, Lane.INTERACTIVE), (load.bulk, Lane.BULK)):
        if rate:
            run.environment.process(run.arrive(rate, lane))
    for _ in range(load.in_flight):
        run.environment.process(run.follow(load.is_finite))
    run.environment.run(until=run.ended)
    return _outcome(run, cores, load.is_finite)


def _outcome(run: _Simulation, cores: int | None, is_finite: bool) -> Outcome:
    ended = run.environment.now
    # Nothing is through at the beginning itself.
    began = 0.0 if is_finite else run.through[int(WARM_UP * len(run.through))]
    counted = [at for at in run.through if at > began]
    bounds = [began + (ended - began) * part / PARTS for part in range(PARTS + 1)]
    computed = sum(piece for at, piece in run.computed if at > began)
    seconds = ended - began
    return Outcome(
        images=len(counted),
        seconds=seconds,
        rates=_rates(counted, bounds),
        waits=sorted(wait for wait in run.waits if wait[0] > began),
        busy=computed / seconds / cores if cores and seconds else 0.0,
    )


def _rates(times: Iterable[float], bounds: Sequence[float]) -> list[float]:
    ordered = list(times)
    return [
        sum(1 for at in ordered if low < at <= high) / (high - low)
        for low, high in pairwise(bounds)
        if high > low
    ]
