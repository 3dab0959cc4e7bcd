"""What becomes of a failure: how often its message is tried again, and what an operator does then.

An error is treated by the row of its class, or of the nearest class above it that has one. Rows go
by names: a dead letter knows no more, and errors of models are not known here. What libraries
raise is turned into these errors by the one module of ours that calls them.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from celery.exceptions import SoftTimeLimitExceeded

from pipeline.errors import DeadlinePassed, DiskFull, MemoryExhausted
from pipeline.settings import Settings

# Seconds. An outage is over when it is over: waiting for longer only makes the end of it later.
LONGEST_DELAY = 60.0


class Retries(StrEnum):
    """How often a message is tried again before it is parked."""

    NONE = "no"
    FEW = "a few times"
    OUTAGE = "through an outage"


@dataclass(frozen=True)
class Treatment:
    """How failures of one class are treated; ``advice`` is for whoever finds one parked."""

    retries: Retries
    advice: str


NO, FEW, OUTAGE = Retries.NONE, Retries.FEW, Retries.OUTAGE

TREATMENTS: Mapping[str, Treatment] = {
    name: Treatment(retries, advice)
    for name, retries, advice in (
        ("StoreUnavailable", OUTAGE, "A store was away: when it is back, replay."),
        ("DiskFull", OUTAGE, "Make room on the disk that the message names, then replay."),
        ("BrokerUnavailable", OUTAGE, "The broker was away: when it is back, replay."),
        ("FetchFailed", FEW, "The photo's address did not answer: mend that, then replay."),
        (
            "ModelUnavailable",
            FEW,
            "The describer's server does not answer and the image went on without: mend it or "
            "JUSTLENS_TRITON_SERVERS, then replay.",
        ),
        ("PurgeFailed", FEW, "The CDN did not answer; the image went on. Replay to purge again."),
        ("MemoryExhausted", FEW, "Give the worker more memory or fewer slots, then replay."),
        ("TransientError", FEW, "Mend what the message names, then replay."),
        ("ConnectionError", FEW, "Mend what the message names, then replay."),
        ("TimeoutError", FEW, "Mend what the message names, then replay."),
        ("UndecodableImage", NO, "The file is no picture that can be read: upload another."),
        (
            "FetchRefused",
            NO,
            "The address fails or may not be fetched: see the message, or upload the photo.",
        ),
        ("ObjectMissing", NO, "The stored photo is gone: upload it again, then drop this."),
        ("InvalidMessage", NO, "Its producer is at fault: mend it there, then drop this."),
        ("ConfigurationError", NO, "The message names the setting: correct it, then replay."),
        ("DeadlinePassed", NO, "The photo stalls its stage: keep it for a report, then delete it."),
        ("PoisonMessage", NO, "The photo ends the process: keep it for a report, then delete it."),
        ("PurgeRefused", NO, "The CDN refuses the purge: mend its settings, then replay."),
        ("UnreadableAnswer", NO, "The model's answers make no sense: mend the model, then replay."),
        ("DescriberRefused", NO, "The describer's server fails: mend it as it says, then replay."),
        ("UnknownPrompt", NO, "The message names the prompts there are: set one, then replay."),
        ("NotConfigured", NO, "The message names the setting: set it, then replay."),
        ("WeightsMissing", NO, "Put the model's weights where the message says, then replay."),
        ("UnsuitableWeights", NO, "Put other weights in their place, then replay."),
        ("OutOfMemory", NO, "The GPU's memory is too small: see JUSTLENS_GPU_MEMORY; replay."),
        ("ModelError", NO, "The model says what it lacks: mend that, then replay."),
        (
            "RetrainingFailed",
            NO,
            "A step of a retraining failed as the message says: mend that; the next night begins "
            "anew.",
        ),
        ("Exception", NO, "Nobody expected it: report it with its traceback; replay once mended."),
    )
}


def treatment(error: type[BaseException] | str) -> Treatment:
    """How errors of a class are treated, or of a name that a dead letter has."""
    names = [error] if isinstance(error, str) else [kind.__name__ for kind in error.__mro__]
    return next((TREATMENTS[n] for n in names if n in TREATMENTS), TREATMENTS["Exception"])


def retries(error: BaseException, settings: Settings) -> int:
    """How often a message is tried again that fails with this error."""
    limits = {NO: 0, FEW: settings.max_retries, OUTAGE: settings.outage_retries}
    return limits[treatment(type(error)).retries]


def delay(error: BaseException, tried_again: int, settings: Settings) -> float:
    """Seconds until the next try of a message that was tried again so often.

    Doubled each time, and by chance up to a half less, so that what failed together does not come
    back together; never less than the other side asks for (``TransientError.retry_after``).
    """
    longest = min(settings.retry_delay * 2.0 ** min(tried_again, 30), LONGEST_DELAY)
    return max(longest * random.uniform(0.5, 1.0), getattr(error, "retry_after", 0.0))


def of_ours(error: Exception) -> Exception:
    """The error in our words, where it is one that Python or the worker's pool raises anywhere."""
    if isinstance(error, MemoryError):
        # Celery leaves a message alone whose task raises it.
        return MemoryExhausted(f"there was not enough memory: {error}")
    if isinstance(error, OSError) and error.errno in DiskFull.numbers:
        return DiskFull(str(error))
    if isinstance(error, SoftTimeLimitExceeded):
        return DeadlinePassed(f"ran past the time limit of its worker: {error}")
    return error
