"""What becomes of each failure: the table, and that stages keep to it."""

import errno
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from celery.exceptions import SoftTimeLimitExceeded

import models.errors
import pipeline.errors
from pipeline.errors import (
    DiskFull,
    FetchFailed,
    MemoryExhausted,
    ModelUnavailable,
    PurgeFailed,
    StoreUnavailable,
    TransientError,
    UndecodableImage,
)
from pipeline.failures import LONGEST_DELAY, TREATMENTS, Retries, delay, of_ours, retries, treatment
from pipeline.settings import Settings

SETTINGS = Settings(max_retries=3, outage_retries=20, retry_delay=2.0)
RUNBOOK = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
# Answers to people, which no stage raises, and bases that nobody raises.
NOT_PARKED = {
    *("JustLensError", "PermanentError", "TooBusy", "UnknownBusiness", "UnknownImage"),
    *("BackUpDamaged", "StoresNotEmpty"),
}


def errors(module: ModuleType) -> Iterator[type[Exception]]:
    """The exceptions that a module of errors defines."""
    for _, kind in inspect.getmembers(module, inspect.isclass):
        if issubclass(kind, Exception) and kind.__module__ == module.__name__:
            yield kind


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (StoreUnavailable("away"), 20),
        (DiskFull("full"), 20),
        (FetchFailed("503"), 3),
        (ModelUnavailable("away"), 3),
        (PurgeFailed("503"), 3),
        (MemoryExhausted("short"), 3),
        (ConnectionResetError("by peer"), 3),
        (UndecodableImage("no image"), 0),
        (ValueError("a bug"), 0),
        (OSError(errno.ENOENT, "no such file"), 0),
    ],
)
def test_each_error_is_tried_again_as_often_as_its_row_says(error: Exception, times: int) -> None:
    assert retries(error, SETTINGS) == times


def test_every_error_of_ours_that_a_stage_may_raise_has_a_row_of_its_own() -> None:
    kinds = [*errors(pipeline.errors), *errors(models.errors)]
    named = {kind.__name__ for kind in kinds} - NOT_PARKED
    # Turned into ModelUnavailable, or raised before any stage runs.
    assert named - TREATMENTS.keys() <= {"DescriberUnavailable", "UnknownModel", "UnsuitableInput"}


@pytest.mark.parametrize("kind", list(errors(pipeline.errors)), ids=lambda kind: kind.__name__)
def test_what_is_transient_is_tried_again_and_nothing_else(kind: type[Exception]) -> None:
    is_retried = treatment(kind).retries is not Retries.NONE
    assert is_retried == issubclass(kind, TransientError)


def test_delays_are_doubled_up_to_a_limit_and_scattered() -> None:
    error = StoreUnavailable("away")
    longest = [2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_DELAY, LONGEST_DELAY]
    for tried, most in enumerate(longest):
        delays = [delay(error, tried, SETTINGS) for _ in range(50)]
        assert all(most / 2 <= one <= most for one in delays)
        assert len(set(delays)) > 1
    assert delay(error, 10_000, SETTINGS) <= LONGEST_DELAY


def test_whoever_asks_to_be_left_alone_is_left_alone_for_so_long() -> None:
    assert delay(FetchFailed("429", 120.0), 0, SETTINGS) == 120.0


@pytest.mark.parametrize(
    ("raised", "name"),
    [
        (MemoryError(), "MemoryExhausted"),
        (OSError(errno.ENOSPC, "No space left on device"), "DiskFull"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "DiskFull"),
        (SoftTimeLimitExceeded(3), "DeadlinePassed"),
        (OSError(errno.ENOENT, "no such file"), "FileNotFoundError"),
        (ValueError("a bug"), "ValueError"),
    ],
)
def test_what_python_raises_anywhere_is_put_into_our_words(raised: Exception, name: str) -> None:
    assert type(of_ours(raised)).__name__ == name


@pytest.mark.parametrize("name", TREATMENTS)
def test_the_runbook_has_every_row(name: str) -> None:
    row = TREATMENTS[name]
    assert f"| `{name}` | {row.retries} | {row.advice} |" in RUNBOOK.read_text()


def test_a_cause_that_nobody_knows_is_treated_as_unexpected() -> None:
    assert treatment("SomethingNew") is treatment(ZeroDivisionError) is TREATMENTS["Exception"]
