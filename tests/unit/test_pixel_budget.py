"""The pixel budget."""

import threading
from concurrent.futures import ThreadPoolExecutor

from pipeline.pixel_budget import PixelBudget


def test_photos_that_fit_together_are_held_together() -> None:
    budget = PixelBudget(10)
    both = threading.Barrier(2, timeout=5)

    def hold() -> int:
        with budget.take(5):
            return both.wait()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lambda _: hold(), range(2))) == [0, 1]


def test_the_total_is_never_passed_and_all_get_their_turn() -> None:
    budget = PixelBudget(10)
    lock = threading.Lock()
    held: list[int] = [0]
    most: list[int] = [0]

    def hold(pixels: int) -> int:
        with budget.take(pixels):
            with lock:
                held[0] += pixels
                most[0] = max(most[0], held[0])
            with lock:
                held[0] -= pixels
        return pixels

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(hold, [4, 3, 6, 1, 9, 10, 2] * 20))
    assert sum(done) == 35 * 20
    assert most[0] <= 10


def test_a_photo_larger_than_the_total_is_held_alone() -> None:
    budget = PixelBudget(10)
    entered = threading.Event()

    def small() -> None:
        with budget.take(1):
            entered.set()

    with budget.take(1000):
        thread = threading.Thread(target=small)
        thread.start()
        assert not entered.wait(0.05)
    thread.join(5)
    assert entered.is_set()
