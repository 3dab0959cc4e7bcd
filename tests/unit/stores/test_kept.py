"""Connections that wait for their next user beside the pool."""

import math
import sqlite3
from contextlib import ExitStack

import pytest

from pipeline.stores.kept import Kept


def kept(most: int = 2, longest: float = math.inf) -> Kept:
    return Kept(lambda: sqlite3.connect(":memory:"), most, longest)


def is_open(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


def use(connections: Kept, count: int) -> list[sqlite3.Connection]:
    """So many at a time, the first of them given back last."""
    with ExitStack() as users:
        return [users.enter_context(connections.one()) for _ in range(count)]


def test_the_one_that_was_used_last_is_used_first() -> None:
    connections = kept()
    first, _ = use(connections, 2)
    assert use(connections, 1) == [first]


def test_each_has_one_user_at_a_time() -> None:
    assert len(set(use(kept(), 5))) == 5


def test_no_more_are_kept_than_may_wait() -> None:
    assert [is_open(one) for one in use(kept(most=2), 3)] == [False, True, True]


def test_one_whose_user_failed_is_closed() -> None:
    connections = kept()
    with pytest.raises(ValueError), connections.one() as failed:
        raise ValueError
    assert not is_open(failed)
    assert use(connections, 1) != [failed]


def test_those_that_have_waited_for_too_long_are_closed() -> None:
    connections = kept(longest=0.0)
    before = use(connections, 2)
    assert use(connections, 1)[0] not in before
    assert not any(map(is_open, before))


def test_closing_spares_the_one_in_use() -> None:
    connections = kept()
    idle = use(connections, 2)
    with connections.one() as used:
        connections.close()
        assert [one for one in idle if is_open(one)] == [used]
