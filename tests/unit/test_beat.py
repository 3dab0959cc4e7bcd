"""Beat, told to end."""

import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tasks.worker import end_between_sends


@pytest.fixture
def handlers() -> Iterator[None]:
    """Those of this process, which it has again afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_lets_beat_finish_what_it_is_sending(
    number: signal.Signals, handlers: None
) -> None:
    told: list[str] = []
    end_between_sends(SimpleNamespace(stop=lambda: told.append("to stop")))
    # Celery's own handler raises out of whatever is running.
    signal.raise_signal(number)
    assert told == ["to stop"]
