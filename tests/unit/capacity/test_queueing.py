"""Waiting by formulas, against tables, closed forms and themselves."""

import math
from dataclasses import replace

import pytest

from pipeline.capacity.queueing import Station, erlang_c, held_up, lane_waits, mean_wait

CORES = Station(processes=4, servers=1, seconds=0.1, scv=1.0, slots=8, own=0.2)
SLOTS = Station(processes=2, servers=4, seconds=1.0, scv=1.0, slots=4, own=1.0, is_shared=True)


@pytest.mark.parametrize(
    ("servers", "offered", "waits"),
    # The second and the last by hand; the others stand in printed tables of Erlang's C.
    [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (5, 4.0, 0.5541), (10, 8.0, 0.4092), (3, 2.0, 4 / 9)],
)
def test_erlang_c_is_as_in_tables(servers: int, offered: float, waits: float) -> None:
    assert erlang_c(servers, offered) == pytest.approx(waits, abs=5e-5)


def test_erlang_c_holds_for_thousands_of_servers() -> None:
    assert 0 < erlang_c(5000, 4900.0) < 0.2
    assert erlang_c(5000, 5000.0) == 1.0
    assert erlang_c(5000, 0.0) == 0.0


def test_one_server_waits_as_pollaczek_and_khinchine_say() -> None:
    load, seconds = 0.8, 2.0
    for scv in (0.0, 1.0, 4.0):
        exact = load * seconds / (1 - load) * (1 + scv) / 2
        assert mean_wait(1, seconds, load / seconds, scv=scv) == pytest.approx(exact)


def test_who_cannot_keep_up_waits_for_ever() -> None:
    assert math.isinf(mean_wait(2, 1.0, 2.0))
    assert lane_waits(2, 1.0, 1.0, 1.0, 5.0)[1] == math.inf


def test_arrivals_at_even_intervals_wait_less() -> None:
    assert mean_wait(1, 1.0, 0.8, scv=0.0, arrivals_scv=0.0) == 0.0
    assert mean_wait(1, 1.0, 0.8, arrivals_scv=0.5) < mean_wait(1, 1.0, 0.8)


def test_lanes_wait_as_cobham_says_of_one_server() -> None:
    # Exponential times of mean 1: the remaining time of what runs is the load.
    first, second = lane_waits(1, 1.0, 1.0, 0.3, 0.4)
    assert first == pytest.approx(0.7 / 0.7)
    assert second == pytest.approx(0.7 / (0.7 * 0.3))


def test_lanes_together_wait_as_one_queue_does() -> None:
    first, second = lane_waits(3, 1.0, 1.0, 1.0, 1.4)
    both = (1.0 * first + 1.4 * second) / 2.4
    assert both == pytest.approx(mean_wait(3, 1.0, 2.4))


def test_an_upload_waits_no_longer_than_a_full_bulk_lane_makes_it() -> None:
    calm = held_up(CORES, 5.0, 0.0)
    busy = held_up(CORES, 5.0, 30.0)
    full = held_up(CORES, 5.0, 1000.0)
    assert calm.interactive < busy.interactive < full.interactive < math.inf
    assert math.isinf(full.bulk)
    # Eight messages share a process that takes 0.1 s for each; one of them is the upload's own.
    assert full.interactive == pytest.approx(8 * 0.1 - 0.2, rel=0.1)


def test_where_slots_are_scarce_lanes_are_served_in_their_order() -> None:
    found = held_up(SLOTS, 2.0, 5.0)
    assert found.interactive < found.bulk / 4
    assert found.utilisation == pytest.approx(7 / 8)


def test_more_workers_hold_nothing_up_for_longer() -> None:
    waits = [held_up(replace(CORES, processes=n), 20.0, 10.0).interactive for n in (3, 4, 8, 40)]
    assert waits == sorted(waits, reverse=True)
    assert waits[-1] < 0.005


def test_more_uploads_than_a_station_can_do_are_never_in_balance() -> None:
    assert math.isinf(held_up(CORES, 41.0, 0.0).interactive_p95)
