"""Waiting out an outage of what a slot cannot go on without."""

import pytest
from celery.exceptions import Reject
from celery.worker import state

from pipeline.errors import InvalidMessage, StoreUnavailable
from tasks.outage import outlast


class Flaky:
    """Fails so many times before it works."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.left = failures
        self._error = error

    def __call__(self) -> str:
        if self.left:
            self.left -= 1
            raise self._error
        return "worked"


def test_what_fails_for_a_while_is_called_until_it_works() -> None:
    flaky = Flaky(2, StoreUnavailable("away"))
    assert outlast(flaky) == "worked"
    assert flaky.left == 0


def test_what_will_never_work_fails_at_once() -> None:
    flaky = Flaky(2, InvalidMessage("no"))
    with pytest.raises(InvalidMessage):
        outlast(flaky)
    assert flaky.left == 1


@pytest.mark.parametrize("stopping", ["should_stop", "should_terminate"])
def test_a_worker_that_is_being_stopped_gives_the_message_back(
    monkeypatch: pytest.MonkeyPatch, stopping: str
) -> None:
    monkeypatch.setattr(state, stopping, 0)
    with pytest.raises(Reject) as raised:
        outlast(Flaky(1, StoreUnavailable("away")))
    assert raised.value.requeue
