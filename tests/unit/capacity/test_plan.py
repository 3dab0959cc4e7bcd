"""Plans: what a load needs, and that it does with that."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.capacity import figures as priced
from pipeline.capacity.check import check
from pipeline.capacity.day import course
from pipeline.capacity.demand import DAY, Demand
from pipeline.capacity.figures import Figures
from pipeline.capacity.plan import Goal, Plan, make, worker
from pipeline.capacity.queueing import held_up
from pipeline.capacity.service_times import POOLS, ServiceTimes, StageTime
from pipeline.capacity.simulation import Load, Workers, simulate
from pipeline.errors import ConfigurationError
from pipeline.queues import Lane, Stage

FIGURES = priced.read(priced.EXAMPLE)
TIMES = ServiceTimes(
    stages={
        stage: StageTime(cpu_seconds=0.05, serial_cpu_seconds=0.02, wait_seconds=0.1)
        for stage in Stage
    },
    bytes_per_image={
        "originals": 100e3,
        "enhanced": 200e3,
        "documents": 10e3,
        "relational": 1e3,
        "vectors": 6e3,
    },
    calls_per_image={"documents": 50.0, "directory": 10.0, "objects": 5.0, "vectors": 5.0},
    worker_gib={"gpu": 1.0, "io": 0.5, "cpu": 0.5},
    page_seconds=0.01,
    page_reads=2,
)
DEMAND = Demand(images_per_day=864_000, backfill=8_640_000, days=10)


def planned(demand: Demand = DEMAND, figures: Figures = FIGURES, **goal: float) -> Plan:
    return make(demand, TIMES, figures, Goal(**goal))


def changed(table: str, **values: Any) -> Figures:
    """The example's figures with other ones in a table such as nodes.rabbitmq."""
    kind, name = table.split(".")
    tables: Mapping[str, Any] = getattr(FIGURES, kind)
    other = tables[name].model_copy(update=values)
    return FIGURES.model_copy(update={kind: {**tables, name: other}})


def test_uploads_over_a_day_add_up_and_peak_where_they_should() -> None:
    seconds = DAY / 24
    assert sum(DEMAND.uploads(hour) * seconds for hour in range(24)) == pytest.approx(864_000)
    assert DEMAND.uploads(14) == DEMAND.peak == pytest.approx(20.0)
    assert DEMAND.bulk == pytest.approx(10.0)


def test_a_day_can_be_given_by_its_hours() -> None:
    demand = replace(DEMAND, profile=[0] * 8 + [1] * 16)
    assert demand.uploads(7.9) == 0
    assert demand.peak == demand.uploads(12) == pytest.approx(15.0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"images_per_day": 0, "backfill": 0}, "how many a day"),
        ({"images_per_day": -1}, "negative"),
        ({"days": 0}, "--days"),
        ({"peak_factor": 3}, "profile"),
        ({"profile": [1, 2]}, "24 numbers"),
    ],
)
def test_a_load_that_cannot_be_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        replace(DEMAND, **wrong)


def test_what_is_scarce_decides_what_a_worker_can_do() -> None:
    def limit(time: StageTime, slots: int = 8, cores: int = 2) -> tuple[str, float]:
        station, name = worker({Stage.TAG: time}, slots, cores)
        return name, pytest.approx(station.able)

    assert limit(StageTime(cpu_seconds=1)) == ("cores", 2.0)
    assert limit(StageTime(cpu_seconds=0.01, wait_seconds=1)) == ("slots", 8 / 1.01)
    assert limit(StageTime(cpu_seconds=0.1, serial_cpu_seconds=1)) == ("forward passes", 1.0)
    gpu = StageTime(cpu_seconds=0.1, gpu_seconds=2, batch=4)
    assert limit(gpu) == ("GPU", 2.0)


def test_faster_cores_do_more() -> None:
    stages = {Stage.TAG: StageTime(cpu_seconds=1)}
    slow, fast = worker(stages, 8, 1)[0], worker(stages, 8, 1, speed=2.0)[0]
    assert fast.able == pytest.approx(2 * slow.able)


def test_a_plan_keeps_to_its_goal_with_as_few_workers_as_possible() -> None:
    plan = planned(utilisation=0.7, wait=1.0)
    for pool, stages in POOLS.items():
        found = plan.pools[pool]
        assert found.busy_day <= 0.7
        assert found.busy_peak <= 0.7
        assert found.at_peak.interactive_p95 <= 1.0
        fewer = replace(found.station, processes=found.workers - 1)
        visits = len(stages)
        at_peak = held_up(fewer, visits * DEMAND.peak, visits * DEMAND.bulk)
        is_busy = visits * max(DEMAND.peak, DEMAND.mean) / fewer.able > 0.7
        assert is_busy or at_peak.interactive_p95 > 1.0


def test_twice_the_load_needs_about_twice_the_workers_and_not_more_of_each_store_than_that() -> (
    None
):
    one, two = planned(), planned(replace(DEMAND, images_per_day=1_728_000, backfill=17_280_000))
    for pool in POOLS:
        assert two.pools[pool].workers == pytest.approx(2 * one.pools[pool].workers, abs=2)
    assert one.price < two.price <= 2.2 * one.price


def test_the_day_lets_all_through_that_came_in() -> None:
    stations = {pool: found.station for pool, found in planned().pools.items()}
    today = course(DEMAND, stations)
    assert sum(today.through) == pytest.approx(sum(today.uploads) + sum(today.bulk), rel=0.01)
    assert len(today.hours) == 288


def test_a_backfill_that_is_too_much_by_day_waits_for_the_night_and_uploads_do_not() -> None:
    stations = {pool: found.station for pool, found in planned(utilisation=0.95).pools.items()}
    today = course(DEMAND, stations)
    # Those of this pool are the fewest for what they have to do.
    backlog = today.depth["cpu", Lane.BULK]
    assert max(backlog) > 10_000
    assert min(backlog) < 100
    peak = today.hours[backlog.index(max(backlog))]
    assert 14 < peak < 24
    assert max(today.depth["cpu", Lane.INTERACTIVE]) < 100


def test_nodes_follow_from_their_limits() -> None:
    least = planned().nodes["rabbitmq"]
    assert (least.nodes, least.because) == (3, "the least there are")
    busiest = max(planned().course.through)
    small = changed("nodes.rabbitmq", calls_per_second=10.0, utilisation=0.5)
    found = planned(figures=small).nodes["rabbitmq"]
    assert found.calls_per_second == pytest.approx(6 * busiest)
    assert found.nodes == pytest.approx(6 * busiest / 5, abs=1)
    assert found.because == "calls a second"


def test_storage_is_what_is_kept_times_its_copies() -> None:
    demand = replace(DEMAND, keep_days=100, stored=1_000_000)
    kept = 1_000_000 + 8_640_000 + 86_400_000
    assert demand.kept == kept
    node = FIGURES.nodes["documents"]
    found = planned(demand).nodes["documents"]
    assert found.stored_gb == pytest.approx(kept * 10e3 / 1e9 * node.data_factor * 3)
    assert found.nodes % 3 == 0


def test_money_is_machines_and_nodes_by_the_hour_and_storage_by_the_month() -> None:
    free = FIGURES.model_copy(
        update={
            "machines": {
                name: one.model_copy(update={"price_per_hour": 0.0})
                for name, one in FIGURES.machines.items()
            },
            "nodes": {
                name: one.model_copy(update={"price_per_hour": 0.0, "price_per_gb_month": 0.0})
                for name, one in FIGURES.nodes.items()
            },
        }
    )
    assert planned(figures=free).price == 0
    rabbit = free.nodes["rabbitmq"].model_copy(update={"price_per_hour": 2.0})
    paid = free.model_copy(update={"nodes": {**free.nodes, "rabbitmq": rabbit}})
    assert planned(figures=paid).price == pytest.approx(3 * 2.0 * 240)
    stored = free.nodes["objects"].model_copy(update={"price_per_gb_month": 1.0})
    paid = free.model_copy(update={"nodes": {**free.nodes, "objects": stored}})
    plan = planned(figures=paid)
    assert plan.price == pytest.approx(plan.nodes["objects"].stored_gb * 240 / 730)


def test_machines_hold_as_many_workers_as_fit() -> None:
    figures = changed("machines.cpu", cores=4, memory_gib=2.0)
    plan = planned(figures=figures)
    # 2 GiB hold four of 0.5 GiB, and two of 1 GiB, which are also as many as four cores have.
    assert plan.pools["io"].machines == -(-plan.pools["io"].workers // 4)
    assert plan.pools["gpu"].machines == -(-plan.pools["gpu"].workers // 2)
    with pytest.raises(ConfigurationError, match=r"more than machines\.cpu has"):
        planned(figures=changed("machines.cpu", memory_gib=0.1))


def test_pages_have_processes_of_their_own_where_there_are_any() -> None:
    assert "api" not in planned().pools
    plan = planned(replace(DEMAND, pages_per_second=200), utilisation=0.5)
    assert plan.pools["api"].workers == 4
    silent = TIMES.model_copy(update={"page_seconds": 0.0})
    with pytest.raises(ConfigurationError, match="--page-ms"):
        make(replace(DEMAND, pages_per_second=200), silent, FIGURES, Goal())


def test_pages_read_documents_whoever_has_measured_the_stages() -> None:
    demand = replace(DEMAND, pages_per_second=200)
    own = ServiceTimes(
        page_seconds=0.01, **TIMES.model_dump(exclude={"page_seconds", "page_reads"})
    )
    with_pages = make(demand, own, FIGURES, Goal()).nodes["documents"].calls_per_second
    without = planned().nodes["documents"].calls_per_second
    assert with_pages - without == pytest.approx(2 * 200)
    none = own.model_copy(update={"page_reads": 0.0})
    with pytest.raises(ConfigurationError, match="page_reads"):
        make(demand, none, FIGURES, Goal())


def test_a_gpu_takes_forward_passes_off_the_cores() -> None:
    taken = priced.on_gpu(TIMES, FIGURES, "example").stages[Stage.ENHANCE]
    assert taken.serial_cpu_seconds == 0
    assert taken.batch / taken.gpu_seconds == pytest.approx(
        FIGURES.gpus["example"].images_per_second[Stage.ENHANCE]
    )
    with pytest.raises(ConfigurationError, match="there are: example"):
        priced.on_gpu(TIMES, FIGURES, "h100")


def test_a_gpu_worker_does_what_the_simulation_lets_through() -> None:
    """The stages take turns on it, and few slots leave it half idle."""
    taken = priced.on_gpu(TIMES, FIGURES, "example")
    stages = {stage: taken.stages[stage] for stage in POOLS["gpu"]}
    rates = []
    for slots in (22, 88, 176):
        station, limit = worker(stages, slots, 2, gpus=1)
        assert limit == "GPU"
        alone = Workers(POOLS["gpu"], slots, cores=2, are_shared_out=True)
        others = Workers(tuple(set(Stage) - set(POOLS["gpu"])), 1000)
        times = {**taken.stages, **dict.fromkeys(others.stages, StageTime(cpu_seconds=0))}
        seen = simulate(times, [alone, others], Load(in_flight=300), images=800)
        rates.append(station.able / len(stages))
        assert seen.rate == pytest.approx(rates[-1], rel=0.05)
    assert rates[0] < rates[1] < rates[2] < 12


def test_triton_is_planned_for_what_describes_there() -> None:
    with_it = priced.with_describer(TIMES, FIGURES, "example")
    assert with_it.stages[Stage.DESCRIBE].wait_seconds == pytest.approx(0.1 + 4.0)
    plan = make(DEMAND, with_it, FIGURES, Goal(), images_per_triton_gpu=6.0)
    busiest, most = max(plan.course.through), FIGURES.nodes["triton"].utilisation
    assert plan.nodes["triton"].nodes == pytest.approx(busiest / 6 / most, abs=1)
    assert plan.gpus == plan.nodes["triton"].nodes
    assert "triton" not in planned().nodes


@pytest.mark.parametrize("goal", [{"utilisation": 1.0}, {"utilisation": 0.0}, {"wait": 0.0}])
def test_a_goal_that_nothing_can_keep_is_refused(goal: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Goal(**goal)


def test_a_simulation_lets_as_much_through_as_the_plan_says() -> None:
    demand = Demand(images_per_day=200_000, backfill=1_000_000, days=5)
    plan = planned(demand, utilisation=0.5)
    seen = check(plan, TIMES, FIGURES, images=600)
    assert seen.arrived == pytest.approx(demand.peak + demand.bulk)
    assert seen.rate == pytest.approx(seen.arrived, rel=0.15)
    assert {row.pool for row in seen.rows} == set(POOLS)


def test_waits_of_a_simulation_are_those_of_the_formulas() -> None:
    """With exponential times on cores the formulas are exact."""
    stages = dict.fromkeys(Stage, StageTime(cpu_seconds=0.1, scv=1))
    times, demand = TIMES.model_copy(update={"stages": stages}), Demand(216_000, peak_factor=1)
    seen = check(make(demand, times, FIGURES, Goal()), times, FIGURES, images=5000)
    assert {row.pool for row in seen.rows} == set(POOLS)
    for row in seen.rows:
        half = row.high - row.simulated
        assert half < 0.25 * row.simulated
        assert row.formula == pytest.approx(row.simulated, abs=2 * half)
        assert row.formula_p95 == pytest.approx(row.simulated_p95, rel=0.2)


def test_where_forward_passes_are_scarce_their_own_queue_is_planned_for() -> None:
    """Hardly anything waits in the other stages of the pool; the goal is one for each stage."""
    quick, slow = StageTime(cpu_seconds=0.001), StageTime(cpu_seconds=0, serial_cpu_seconds=0.5)
    stages = {**dict.fromkeys(Stage, quick), Stage.ENHANCE: slow.model_copy(update={"scv": 1})}
    times, demand = TIMES.model_copy(update={"stages": stages}), Demand(345_600, peak_factor=1)
    plan = make(demand, times, FIGURES, Goal(utilisation=0.9, wait=2))
    pool = plan.pools["gpu"]
    assert (pool.limit, pool.station.stages) == ("forward passes", (Stage.ENHANCE,))
    assert pool.images_per_second == pytest.approx(2.0)
    assert sum(plan.course.through) == pytest.approx(sum(plan.course.uploads), rel=0.01)
    (row,) = (row for row in check(plan, times, FIGURES, images=3000).rows if row.pool == "gpu")
    assert row.simulated_p95 < 2
    assert row.formula_p95 == pytest.approx(row.simulated_p95, rel=0.2)


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_a_simulation_has_the_machines_of_the_plan(speed: float) -> None:
    """Cores that are twice as fast do twice as much in the same time, there as well."""
    demand = Demand(images_per_day=200_000)
    stages = {
        stage: time.model_copy(
            update={
                "cpu_seconds": speed * time.cpu_seconds,
                "serial_cpu_seconds": speed * time.serial_cpu_seconds,
            }
        )
        for stage, time in TIMES.stages.items()
    }
    times, figures = (
        TIMES.model_copy(update={"stages": stages}),
        changed("machines.cpu", speed=speed),
    )
    seen = check(make(demand, times, figures, Goal()), times, figures, images=100)
    assert seen == check(planned(demand), TIMES, FIGURES, images=100)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("[workers.io]", "[workers.ios]", r"no table workers\.io"),
        ('machine = "cpu"', 'machine = "big"', r"no table machines\.big"),
        ("[nodes.joins]", "[nodes.join]", r"no table nodes\.joins"),
        ("cores = 16", "cores = 0", r"machines\.cpu\.cores"),
        ("least = 3", 'least = "three"', r"nodes\.rabbitmq\.least"),
        ("currency", "curency", "curency"),
    ],
)
def test_prices_that_are_wrong_say_where(
    tmp_path: Path, before: str, after: str, says: str
) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(priced.EXAMPLE.read_text().replace(before, after))
    with pytest.raises(ConfigurationError, match=says):
        priced.read(path)


def test_every_figure_of_the_example_says_where_it_is_from() -> None:
    for given in (FIGURES.nodes, FIGURES.gpus, FIGURES.describers):
        for one in given.values():  # type: ignore[attr-defined]
            assert "assumption" in one.source or "." in one.source
    assert "NOT measured" in FIGURES.gpus["example"].source
