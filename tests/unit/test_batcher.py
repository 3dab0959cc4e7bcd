"""Many threads, one forward pass."""

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tasks.batcher import Batcher

# Longer than any test takes: a batch that begins sooner is a full one.
LONG = 60.0


class Doubling:
    """A model that doubles numbers, fails at negative ones, and remembers its passes."""

    def __init__(self) -> None:
        self.passes: list[tuple[Hashable, list[int]]] = []

    def __call__(self, group: Hashable, items: Sequence[int]) -> list[int]:
        self.passes.append((group, list(items)))
        if min(items) < 0:
            raise ValueError(f"{min(items)} is negative")
        return [2 * item for item in items]

    @property
    def sizes(self) -> list[int]:
        return [len(items) for _, items in self.passes]


def all_at_once(calls: Sequence[Callable[[], Any]]) -> list[Future[Any]]:
    """Every call in a thread of its own; returns when all have ended."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [pool.submit(call) for call in calls]


def each(batcher: Batcher[int, int], items: Sequence[int]) -> list[Future[int]]:
    return all_at_once([lambda item=item: batcher(item) for item in items])  # type: ignore[misc]


def test_many_threads_share_one_forward_pass() -> None:
    model = Doubling()
    each(Batcher(model, size=8, wait=LONG), range(8))
    assert model.sizes == [8]


def test_each_thread_gets_the_result_of_its_own_item() -> None:
    items = [7, 3, 9, 1, 4, 4, 0, 8]
    futures = each(Batcher(Doubling(), size=8, wait=LONG), items)
    assert [future.result() for future in futures] == [2 * item for item in items]


def test_a_batch_never_grows_beyond_its_size() -> None:
    model = Doubling()
    each(Batcher(model, size=4, wait=LONG), range(16))
    assert model.sizes == [4, 4, 4, 4]


def test_a_batch_that_does_not_fill_up_runs_after_its_wait() -> None:
    assert Batcher(Doubling(), size=8, wait=0.01)(21) == 42


def test_a_batch_waits_for_those_on_the_way_and_for_nobody_else() -> None:
    model = Doubling()
    batcher = Batcher(model, size=8, wait=LONG, announced=True)
    ready = threading.Barrier(4)

    def run(item: int) -> int | None:
        with batcher.coming():
            ready.wait(LONG)
            # The last one is on the way, and ends without an item.
            return batcher(item) if item < 3 else None

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [0, 2, 4, None]
    assert model.sizes == [3]
    assert run_alone(batcher) == 10
    assert model.sizes == [3, 1]


def run_alone(batcher: Batcher[int, int]) -> int:
    with batcher.coming():
        return batcher(5)


def test_whoever_comes_late_is_waited_for_no_longer_than_others_are() -> None:
    model = Doubling()
    batcher = Batcher(model, size=8, wait=0.01, announced=True)
    go_on = threading.Event()

    def late() -> int:
        with batcher.coming():
            go_on.wait(LONG)
            return batcher(1)

    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(late)
        assert run_alone(batcher) == 10
        go_on.set()
        assert later.result(LONG) == 2
    assert model.sizes == [1, 1]


def test_a_second_item_of_the_same_caller_takes_nothing_from_others() -> None:
    batcher = Batcher(Doubling(), size=8, wait=LONG, announced=True)
    with batcher.coming():
        assert [batcher(1), batcher(2)] == [2, 4]
    assert run_alone(batcher) == 10


def test_whoever_has_nobody_to_share_with_runs_the_pass_itself_and_one_at_a_time() -> None:
    threads, running = [], []

    def run(_group: Hashable, items: Sequence[int]) -> list[int]:
        threads.append(threading.get_ident())
        running.append(True)
        assert len(running) == 1
        running.pop()
        return [2 * item for item in items]

    batcher = Batcher(run, size=1, wait=LONG)
    assert batcher(4) == 8
    assert threads == [threading.get_ident()]
    assert [future.result() for future in each(batcher, range(16))] == list(range(0, 32, 2))


def test_a_failing_item_fails_alone() -> None:
    model = Doubling()
    futures = each(Batcher(model, size=4, wait=LONG), [1, -5, 2, 3])
    assert [futures[index].result() for index in (0, 2, 3)] == [2, 4, 6]
    with pytest.raises(ValueError, match="-5 is negative"):
        futures[1].result()
    assert sorted(model.sizes) == [1, 1, 1, 1, 4]


def test_after_a_failure_the_next_batch_runs() -> None:
    batcher = Batcher(Doubling(), size=1, wait=LONG)
    with pytest.raises(ValueError):
        batcher(-1)
    assert batcher(2) == 4


def test_a_model_that_loses_a_result_fails_loudly() -> None:
    def loses_one(_group: Hashable, items: Sequence[int]) -> Sequence[int]:
        return items[:-1]

    with pytest.raises(ValueError):
        Batcher(loses_one, size=1, wait=LONG)(1)


def test_groups_never_share_a_pass() -> None:
    model = Doubling()
    batcher = Batcher(model, size=6, wait=LONG)
    pairs = [(1, "x2"), (2, "x4"), (3, "x2"), (4, "x4"), (5, "x2"), (6, "x4")]
    futures = all_at_once([lambda pair=pair: batcher(*pair) for pair in pairs])  # type: ignore[misc]
    assert [future.result() for future in futures] == [2, 4, 6, 8, 10, 12]
    found = {group: sorted(items) for group, items in model.passes}
    assert found == {"x2": [1, 3, 5], "x4": [2, 4, 6]}
    assert len(model.passes) == 2


def test_a_pass_that_takes_too_long_is_a_timeout_for_whoever_waits() -> None:
    go_on = threading.Event()

    def stuck(_group: Hashable, items: Sequence[int]) -> Sequence[int]:
        go_on.wait(LONG)
        return items

    batcher = Batcher(stuck, size=1, wait=0.0)
    with pytest.raises(TimeoutError):
        batcher(1, timeout=0.01)
    go_on.set()
    assert batcher(2, timeout=LONG) == 2
