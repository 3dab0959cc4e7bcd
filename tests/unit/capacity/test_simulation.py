"""The simulation, against closed forms and against what the graph says."""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

import pytest

from pipeline.capacity.plan import worker
from pipeline.capacity.queueing import erlang_c, held_up, lane_waits
from pipeline.capacity.service_times import POOLS, StageTime
from pipeline.capacity.simulation import Load, Outcome, Workers, simulate
from pipeline.queues import Lane, Stage

NOTHING = StageTime(cpu_seconds=0, scv=0)
REST = tuple(stage for stage in Stage if stage is not Stage.ENHANCE)
PARTS = 20


def only(time: StageTime, *workers: Workers, load: Load, images: int, **options: float) -> Outcome:
    """A graph whose first stage takes that time, and whose others take none."""
    times = {**dict.fromkeys(Stage, NOTHING), Stage.ENHANCE: time}
    others = Workers(REST, slots=1000)
    return simulate(times, [*workers, others], load, images=images, seed=3, **options)  # type: ignore[arg-type]


def interval(waits: Sequence[float]) -> tuple[float, float]:
    """99.9 % interval of the mean, by the means of parts."""
    size = len(waits) // PARTS
    means = [statistics.fmean(waits[part * size : (part + 1) * size]) for part in range(PARTS)]
    half = 3.88 * statistics.stdev(means) / math.sqrt(PARTS)
    return statistics.fmean(means) - half, statistics.fmean(means) + half


@pytest.mark.parametrize(("servers", "rate"), [(1, 0.6), (4, 3.0)])
def test_waits_are_those_of_exponential_servers(servers: int, rate: float) -> None:
    time = StageTime(cpu_seconds=0, wait_seconds=1, scv=1)
    seen = only(time, Workers((Stage.ENHANCE,), servers), load=Load(interactive=rate), images=2500)
    exact = erlang_c(servers, rate) / (servers - rate)
    low, high = interval(seen.held_up(Lane.INTERACTIVE, Stage.ENHANCE))
    assert low < exact < high


def test_uploads_go_before_the_backfill_as_the_formula_has_it() -> None:
    time = StageTime(cpu_seconds=0, wait_seconds=1, scv=1)
    load = Load(interactive=0.8, bulk=0.6)
    seen = only(time, Workers((Stage.ENHANCE,), 2), load=load, images=2500)
    for lane, exact in zip(Lane, lane_waits(2, 1, 1, 0.8, 0.6), strict=True):
        low, high = interval(seen.held_up(lane, Stage.ENHANCE))
        assert low < exact < high


@pytest.mark.parametrize(("computing", "scarce"), [(0.0, "GPU"), (0.2, "cores")])
def test_a_pass_on_a_gpu_holds_up_what_comes_meanwhile_as_the_formula_has_it(
    computing: float, scarce: str
) -> None:
    """A third of all do, on a GPU that could take many times as many in as many passes."""
    time = StageTime(cpu_seconds=computing, gpu_seconds=1, batch=8, scv=0)
    load, workers = Load(interactive=1 / 3), Workers((Stage.ENHANCE,), 16, cores=1)
    waits = only(time, workers, load=load, images=3000).held_up(Lane.INTERACTIVE, Stage.ENHANCE)
    station, limit = worker({Stage.ENHANCE: time}, 16, 1, gpus=1)
    found, longest = held_up(station, load.interactive, 0.0), statistics.quantiles(waits, n=20)[-1]
    assert limit == scarce
    assert found.interactive == pytest.approx(statistics.fmean(waits), rel=0.2)
    assert found.interactive_p95 == pytest.approx(longest, rel=0.25)


def test_waits_of_several_stages_stand_in_order_of_arrival() -> None:
    waiting = {Stage.ENHANCE: 1.0, Stage.UPDATE: 0.1}
    times = {
        stage: StageTime(cpu_seconds=0, wait_seconds=waiting.get(stage, 0.0), scv=0)
        for stage in Stage
    }
    workers = [Workers((Stage.ENHANCE,), 1), Workers(REST, 1000)]
    seen = simulate(times, workers, Load(in_flight=2), images=50)
    # Each waits in the first stage while the one before it is there, and then no more. Who still
    # waits at the end is not counted.
    waits = seen.held_up(Lane.INTERACTIVE, *waiting)
    assert len(waits) > 50
    assert [sum(two) for two in pairwise(waits[:-1])] == pytest.approx([0.9] * (len(waits) - 2))


def test_the_same_seed_gives_the_same_course_and_another_one_another() -> None:
    times = dict.fromkeys(Stage, StageTime(cpu_seconds=0.1))
    workers = [Workers(tuple(Stage), 8)]
    rates = [
        simulate(times, workers, Load(in_flight=8), images=60, cores=2, seed=seed).rates
        for seed in (1, 1, 2)
    ]
    assert rates[0] == rates[1] != rates[2]


def test_cores_that_all_share_bound_the_rate() -> None:
    times = dict.fromkeys(Stage, StageTime(cpu_seconds=0.1, scv=0.2))
    workers = [Workers((stage,), 8) for stage in Stage]
    seen = simulate(times, workers, Load(in_flight=48), images=150, cores=2, quantum=0.05)
    assert seen.rate == pytest.approx(2 / 0.6, rel=0.05)
    assert seen.busy == pytest.approx(1, abs=0.02)
    beside = simulate(
        times, workers, Load(in_flight=48), images=150, cores=2, quantum=0.05, beside=0.2
    )
    assert beside.rate == pytest.approx(2 / 0.8, rel=0.05)


def test_a_finite_run_is_counted_from_its_beginning_to_its_end() -> None:
    time = StageTime(cpu_seconds=0, wait_seconds=1, scv=0)
    seen = only(
        time, Workers((Stage.ENHANCE,), 2), load=Load(in_flight=3, is_finite=True), images=7
    )
    # Two at a time, and the seventh alone.
    assert (seen.images, seen.seconds) == (7, 4.0)


def test_a_process_uses_no_more_cores_than_it_can() -> None:
    time = StageTime(cpu_seconds=0.1, scv=0)
    seen = only(
        time,
        Workers((Stage.ENHANCE,), slots=8, processes=3, cores=1),
        load=Load(in_flight=40),
        images=600,
        cores=8,
    )
    assert seen.rate == pytest.approx(3 / 0.1, rel=0.05)


def test_forward_passes_of_a_process_come_one_after_the_other() -> None:
    time = StageTime(cpu_seconds=0, serial_cpu_seconds=0.1, scv=0, batch=4)
    for processes in (1, 2):
        seen = only(
            time,
            Workers((Stage.ENHANCE,), slots=8, processes=processes),
            load=Load(in_flight=40),
            images=400,
            cores=8,
        )
        assert seen.rate == pytest.approx(processes / 0.1, rel=0.05)


def test_a_gpu_takes_a_batch_in_the_time_of_one_pass() -> None:
    for batch, slots, rate in ((1, 8, 2.0), (4, 8, 8.0)):
        time = StageTime(cpu_seconds=0, gpu_seconds=0.5, scv=0, batch=batch)
        seen = only(time, Workers((Stage.ENHANCE,), slots), load=Load(in_flight=40), images=400)
        assert seen.rate == pytest.approx(rate, rel=0.05)


def test_a_batch_holds_no_more_than_its_stage_has_slots() -> None:
    """16, 4 and 2 of 22, as a worker on RabbitMQ deals them out; without that, 22 for all."""
    tag = StageTime(cpu_seconds=0, gpu_seconds=0.5, scv=0, batch=32)
    times = {**dict.fromkeys(Stage, NOTHING), Stage.TAG: tag}
    others = Workers(tuple(set(Stage) - set(POOLS["gpu"])), slots=1000)
    for are_shared_out, rate in ((True, 8.0), (False, 44.0)):
        workers = Workers(POOLS["gpu"], 22, are_shared_out=are_shared_out)
        seen = simulate(times, [workers, others], Load(in_flight=60), images=400)
        assert seen.rate == pytest.approx(rate, rel=0.06)


def test_slots_that_wait_bound_the_rate_whatever_the_cores() -> None:
    time = StageTime(cpu_seconds=0.01, wait_seconds=0.19, scv=0)
    seen = only(time, Workers((Stage.ENHANCE,), 3), load=Load(in_flight=40), images=300, cores=2)
    assert seen.rate == pytest.approx(3 / 0.2, rel=0.05)


def test_tagging_and_describing_run_side_by_side_and_are_joined() -> None:
    waiting = {Stage.TAG: 1.0, Stage.DESCRIBE: 3.0, Stage.SCORE: 1.0}
    times = {
        stage: StageTime(cpu_seconds=0, wait_seconds=waiting.get(stage, 0.0), scv=0)
        for stage in Stage
    }
    seen = simulate(times, [Workers(tuple(Stage), 4)], Load(in_flight=1), images=50)
    assert seen.rate == pytest.approx(1 / 4)


def test_a_stage_that_nobody_takes_from_is_an_error() -> None:
    times = dict.fromkeys(Stage, NOTHING)
    with pytest.raises(ValueError, match="image_relevance_process"):
        simulate(times, [Workers((Stage.ENHANCE,), 1)], Load(in_flight=1), images=1)
