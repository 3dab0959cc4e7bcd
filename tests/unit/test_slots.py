"""How many messages a worker takes of each of its queues."""

import pytest

from pipeline.queues import GPU_QUEUES, QUEUES, SLOTS, Stage, shared_out

DESCRIBE = Stage.DESCRIBE.value


@pytest.mark.parametrize("queues", [GPU_QUEUES, QUEUES, (DESCRIBE,)])
def test_as_many_as_each_queue_has_slots_when_nothing_else_is_said(
    queues: tuple[str, ...],
) -> None:
    whole = sum(SLOTS[queue] for queue in queues)
    assert shared_out(whole, queues) == {queue: SLOTS[queue] for queue in queues}


def test_a_worker_of_one_queue_takes_as_many_as_it_is_told_to_run() -> None:
    assert shared_out(32, (DESCRIBE,)) == {DESCRIBE: 32}


def test_few_slots_are_dealt_out_and_no_queue_goes_without() -> None:
    assert set(shared_out(1, QUEUES).values()) == {1}
