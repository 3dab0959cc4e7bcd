"""The answer: workers, machines, nodes, storage and money for a load."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.capacity.day import Course, course
from pipeline.capacity.demand import Demand
from pipeline.capacity.figures import Figures, Node, WorkerShape, slots
from pipeline.capacity.queueing import HeldUp, Station, held_up
from pipeline.capacity.service_times import POOLS, ServiceTimes, StageTime
from pipeline.capacity.simulation import Workers
from pipeline.errors import ConfigurationError
from pipeline.queues import Stage, shared_out

GB = 1e9
HOURS_PER_MONTH = 730.0

# One message a stage.
MESSAGES_PER_IMAGE = len(Stage)
# `pipeline.joins`: the sender notes the size; each of two members runs a script of four calls; the
# last deletes two keys.
JOIN_CALLS_PER_IMAGE = 12
# Pages differ in their size, not by much.
PAGES_SCV = 0.5

Limit = Literal["cores", "slots", "forward passes", "GPU"]


@dataclass(frozen=True)
class Goal:
    """What the plan has to keep to.

    Attributes:
        utilisation: most of a pool's time that a day may use, and uploads alone at their peak.
        wait: seconds within which 95 of 100 uploads begin each stage at the peak.
    """

    utilisation: float = 0.75
    wait: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.utilisation < 1:
            raise ConfigurationError("a utilisation is between 0 and 1, such as 0.75")
        if self.wait <= 0:
            raise ConfigurationError("a wait is longer than 0 s: nothing is always free at once")


@dataclass(frozen=True)
class PoolPlan:
    """A pool of workers.

    Attributes:
        images_per_second: that one of its workers can do, through all stages of the pool.
        limit: what a worker has too little of to do more.
        busy_day, busy_peak: of what is scarce, a share: all of the day; by uploads alone at their
            peak.
        at_peak: how long a stage is held up at the busiest moment.
    """

    pool: str
    workers: int
    images_per_second: float
    limit: Limit
    station: Station
    machine: str
    machines: int
    gpus: int
    busy_day: float
    busy_peak: float
    at_peak: HeldUp


@dataclass(frozen=True)
class NodePlan:
    """A kind of server.

    Attributes:
        nodes: how many.
        because: what they are so many for.
        calls_per_second: at the busiest moment.
        stored_gb: all copies together.
    """

    name: str
    nodes: int
    because: str
    calls_per_second: float
    stored_gb: float


@dataclass(frozen=True)
class Plan:
    """What a load needs.

    Attributes:
        pools: with `api`, where pages are asked for.
        price_per_hour: of machines and nodes.
        price_per_month: of what is stored, beside them.
        hours: that the load lasts; of one without end, a month.
    """

    demand: Demand
    pools: Mapping[str, PoolPlan]
    nodes: Mapping[str, NodePlan]
    course: Course
    price_per_hour: float
    price_per_month: float
    hours: float

    @property
    def price(self) -> float:
        """For as long as the load lasts."""
        stored = self.price_per_month * self.hours / HOURS_PER_MONTH
        return self.price_per_hour * self.hours + stored

    @property
    def images(self) -> float:
        """That go through meanwhile."""
        return self.demand.mean * self.hours * 3600

    @property
    def gpus(self) -> int:
        """Of workers and of Triton's nodes."""
        triton = self.nodes["triton"].nodes if "triton" in self.nodes else 0
        return sum(pool.gpus for pool in self.pools.values()) + triton


def worker(
    stages: Mapping[Stage, StageTime], slots: int, cores: int, speed: float = 1.0, gpus: int = 0
) -> tuple[Station, Limit]:
    """One worker process of these stages; its scarcest part decides what it can do.

    Args:
        cores: that it can use, each ``speed`` times as fast as where the times were measured.
        gpus: that it has.
    """
    times = {stage: _faster(time, speed) for stage, time in stages.items()}
    together = _in_a_pass(stages, slots)
    own_slots = shared_out(slots, [stage.value for stage in stages])
    slowest = max(times, key=lambda stage: times[stage].serial_cpu_seconds)
    # What a stage takes of each part, and how many there are of it.
    parts: dict[Limit, tuple[dict[Stage, float], int]] = {
        "cores": ({stage: time.core_seconds for stage, time in times.items()}, cores),
        "slots": ({stage: time.seconds for stage, time in times.items()}, slots),
        "GPU": (
            {stage: time.gpu_seconds / together for stage, time in times.items()},
            max(1, gpus),
        ),
        # Each stage has a thread of its own for these, and a queue in front of it.
        "forward passes": ({slowest: times[slowest].serial_cpu_seconds}, 1),
    }
    limit = max(parts, key=lambda name: sum(parts[name][0].values()) / parts[name][1])
    taken, servers = parts[limit]
    queued = [times[stage] for stage in taken]
    mean = sum(taken.values()) / len(taken)
    squares = sum(one**2 * (1 + times[stage].scv) for stage, one in taken.items()) / len(taken)
    if not mean:
        raise ConfigurationError("stages that take no time at all cannot be planned for")
    station = Station(
        processes=1,
        servers=servers,
        seconds=mean,
        scv=squares / mean**2 - 1,
        slots=own_slots[slowest] if limit == "forward passes" else slots,
        own=sum(time.seconds for time in queued) / len(queued),
        is_shared=limit == "slots",
        pass_seconds=max(time.gpu_seconds for time in queued),
        batch=times[slowest].batch if limit == "forward passes" else 1,
        stages=tuple(taken),
    )
    return station, limit


def _in_a_pass(stages: Mapping[Stage, StageTime], slots: int) -> int:
    """Images in one forward pass on a GPU of a worker that has all it can do.

    The stages' passes take turns, so that in the long run each has as many images as any other. A
    batch gathers while the one before it is in its pass, and the slots are for both.
    """
    own = shared_out(slots, [stage.value for stage in stages])
    on_gpu = [
        min(time.batch, max(1, own[stage.value] // 2))
        for stage, time in stages.items()
        if time.gpu_seconds
    ]
    return min(on_gpu, default=1)


def _faster(time: StageTime, speed: float) -> StageTime:
    return time.model_copy(
        update={
            "cpu_seconds": time.cpu_seconds / speed,
            "serial_cpu_seconds": time.serial_cpu_seconds / speed,
        }
    )


def make(
    demand: Demand,
    times: ServiceTimes,
    figures: Figures,
    goal: Goal,
    *,
    images_per_triton_gpu: float = 0.0,
) -> Plan:
    """Plan for a load.

    Args:
        images_per_triton_gpu: that one of Triton's GPUs describes a second; 0: there is no Triton.

    Raises:
        ConfigurationError: no number of nodes can do it with these figures.
    """
    pools = {pool: _pool(pool, demand, times, figures, goal) for pool in POOLS}
    today = course(demand, {pool: planned.station for pool, planned in pools.items()})
    if demand.pages_per_second:
        pools["api"] = _pages(demand, times, figures, goal)
    nodes = _nodes(demand, times, figures, max(today.through), images_per_triton_gpu)
    hours = demand.days * 24 if demand.backfill else HOURS_PER_MONTH
    by_hour = sum(
        planned.machines * figures.machines[planned.machine].price_per_hour
        for planned in pools.values()
    ) + sum(node.nodes * figures.nodes[name].price_per_hour for name, node in nodes.items())
    by_month = sum(
        node.stored_gb * figures.nodes[name].price_per_gb_month for name, node in nodes.items()
    )
    return Plan(demand, pools, nodes, today, by_hour, by_month, hours)


def simulated(
    plan: Plan, times: ServiceTimes, figures: Figures
) -> tuple[dict[Stage, StageTime], list[Workers]]:
    """What the stages take on the machines of a plan, and its workers, for ``simulation``."""
    there = {
        stage: _faster(times.stages[stage], figures.machines[plan.pools[pool].machine].speed)
        for pool, stages in POOLS.items()
        for stage in stages
    }
    return there, [
        Workers(
            stages,
            slots(figures.workers[pool], pool),
            plan.pools[pool].workers,
            figures.workers[pool].cores,
            are_shared_out=True,
        )
        for pool, stages in POOLS.items()
    ]


def workers_needed(one: Station, demand: Demand, goal: Goal) -> Station:
    """The fewest workers like one that keep up with a day, and with uploads at their peak."""
    able = one.images_per_second * goal.utilisation
    low = max(1, math.ceil(max(demand.mean, demand.peak) / able - 1e-9))

    def is_enough(processes: int) -> bool:
        station = replace(one, processes=processes)
        at_peak = held_up(station, one.visits * demand.peak, one.visits * demand.bulk)
        return at_peak.interactive_p95 <= goal.wait

    high = low
    while not is_enough(high):
        high *= 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return replace(one, processes=low)


def _pool(pool: str, demand: Demand, times: ServiceTimes, figures: Figures, goal: Goal) -> PoolPlan:
    shape = figures.workers[pool]
    machine = figures.machines[shape.machine]
    stages = {stage: times.stages[stage] for stage in POOLS[pool]}
    gpus = int(any(time.gpu_seconds for time in stages.values()))
    one, limit = worker(stages, slots(shape, pool), shape.cores, machine.speed, gpus)
    station = workers_needed(one, demand, goal)
    return PoolPlan(
        pool=pool,
        workers=station.processes,
        images_per_second=one.images_per_second,
        limit=limit,
        station=station,
        machine=shape.machine,
        machines=_machines(station.processes, shape, pool, times, figures, gpus),
        gpus=station.processes * gpus,
        busy_day=demand.mean / station.images_per_second,
        busy_peak=demand.peak / station.images_per_second,
        at_peak=held_up(station, station.visits * demand.peak, station.visits * demand.bulk),
    )


def _machines(
    workers: int,
    shape: WorkerShape,
    pool: str,
    times: ServiceTimes,
    figures: Figures,
    gpus: int,
) -> int:
    """Machines that so many worker processes fit on."""
    machine = figures.machines[shape.machine]
    memory = shape.memory_gib or times.worker_gib.get(pool, 1.0)
    if gpus and not machine.gpus:
        raise ConfigurationError(
            f"workers.{pool} run on machines.{shape.machine}, which has no GPU"
        )
    fitting = min(
        machine.cores // shape.cores,
        int(machine.memory_gib / memory),
        machine.gpus if gpus else workers,
    )
    if fitting < 1:
        raise ConfigurationError(
            f"a worker of {pool} takes {shape.cores} cores and {memory:.1f} GiB, more than "
            f"machines.{shape.machine} has"
        )
    return math.ceil(workers / fitting)


def _pages(demand: Demand, times: ServiceTimes, figures: Figures, goal: Goal) -> PoolPlan:
    """Processes that answer result pages one at a time, behind a balancer that takes turns."""
    shape = figures.workers["api"]
    if not times.page_seconds:
        raise ConfigurationError("what does a page take? Say it with --page-ms, such as 10")
    if not times.page_reads:
        raise ConfigurationError(
            "page_reads of the service times is 0, but a page reads documents: twice, as measured"
        )
    seconds = times.page_seconds / figures.machines[shape.machine].speed
    pages = demand.pages_per_second
    one = Station(1, 1, seconds, PAGES_SCV, slots=1, own=seconds)
    processes = math.ceil(pages * seconds / goal.utilisation - 1e-9)
    station = replace(one, processes=max(1, processes))
    return PoolPlan(
        pool="api",
        workers=station.processes,
        images_per_second=1 / seconds,
        limit="cores",
        station=station,
        machine=shape.machine,
        machines=_machines(station.processes, shape, "api", times, figures, 0),
        gpus=0,
        busy_day=pages / station.able,
        busy_peak=pages / station.able,
        at_peak=held_up(station, pages, 0.0),
    )


def _nodes(
    demand: Demand, times: ServiceTimes, figures: Figures, busiest: float, by_triton: float
) -> dict[str, NodePlan]:
    """Servers for the busiest moment of the day, and for all that is kept."""
    kept = times.bytes_per_image
    objects = kept.get("originals", 0.0) + kept.get("enhanced", 0.0)
    calls = times.calls_per_image
    pages = demand.pages_per_second * times.page_reads
    loads: dict[str, tuple[float, float, float]] = {
        # name: calls a second, bytes a second, bytes an image that are kept
        "rabbitmq": (busiest * MESSAGES_PER_IMAGE, 0.0, 0.0),
        "joins": (busiest * JOIN_CALLS_PER_IMAGE, 0.0, 0.0),
        "documents": (
            busiest * calls.get("documents", 0.0) + pages,
            0.0,
            kept.get("documents", 0.0),
        ),
        "relational": (busiest * calls.get("directory", 0.0), 0.0, kept.get("relational", 0.0)),
        # The original is read by three stages, and both versions are written.
        "objects": (
            busiest * calls.get("objects", 0.0),
            busiest * (4 * kept.get("originals", 0.0) + kept.get("enhanced", 0.0)),
            objects,
        ),
        "vectors": (busiest * calls.get("vectors", 0.0), 0.0, kept.get("vectors", 0.0)),
    }
    found = {
        name: _node(name, figures.nodes[name], *load, demand.kept) for name, load in loads.items()
    }
    if by_triton:
        node = figures.nodes["triton"]
        count = max(node.least, math.ceil(busiest / (by_triton * node.utilisation)))
        found["triton"] = NodePlan("triton", count, "descriptions a second", busiest, 0.0)
    return found


def _node(
    name: str, node: Node, calls: float, moved: float, kept: float, images: float
) -> NodePlan:
    stored = kept * images * node.data_factor / GB
    memory = kept * images * node.index_factor / GB if node.memory_gb else 0.0
    needs = {
        "calls a second": _share(calls, node.calls_per_second),
        "bytes a second": _share(moved, node.bytes_per_second),
        "disk": _share(stored, node.stored_gb),
        "memory": _share(memory, node.memory_gb),
    }
    because = max(needs, key=lambda need: needs[need])
    groups = math.ceil(needs[because] / node.utilisation - 1e-9)
    nodes = max(node.least, groups * node.copies)
    if nodes == node.least:
        because = "the least there are"
    return NodePlan(name, nodes, because, calls, stored * node.copies)


def _share(load: float, limit: float) -> float:
    return load / limit if limit else 0.0
