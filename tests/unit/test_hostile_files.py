"""What nobody should have sent is served or refused with its cause, in little memory and time."""

import logging
import multiprocessing
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pipeline.errors import UndecodableImage
from pipeline.imaging import Photo, decode, encode, perceptual_hash
from tests.hostile import FILES, LIMIT, File, photo, saved

log = logging.getLogger(__name__)

CPU_SECONDS = 10
"""None takes more than two on a machine that is not busy."""

PATIENCE = 120.0
"""Seconds until an outcome has come, however busy the machine."""

BYTES_A_PIXEL, ASIDE = 24, 64_000_000
"""What a file may cost: so much for each pixel that is allowed, and for what is beside them."""

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Outcome:
    """What became of a file in a process of its own.

    ``peak`` is how far its memory rose, in bytes; ``seconds`` are the processor's.
    """

    cause: str = ""
    size: tuple[int, int] = (0, 0)
    colour: tuple[int, ...] = ()
    gray: bool = False
    alpha: bool = False
    peak: int = 0
    seconds: float = 0.0


def look(content: bytes) -> Outcome:
    """All that is done to a photo's pixels without a model."""
    try:
        picture = decode(content, LIMIT)
        perceptual_hash(picture.on_white())
        if max(picture.width, picture.height) < 16_000:
            encode(picture)
        small = Photo(content, LIMIT).shrink(320)
    except UndecodableImage as error:
        return Outcome(str(error))
    assert small.width <= 320
    middle = picture.rgb[picture.height // 2, picture.width * 3 // 4]
    return Outcome(
        size=(picture.width, picture.height),
        colour=tuple(int(value) for value in middle),
        gray=picture.gray,
        alpha=picture.alpha is not None,
    )


def memory(field: str) -> int:
    """A line of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def serve(requests: Connection) -> None:
    """Answer for each file with its outcome, each in a copy of this process."""
    warnings.simplefilter("ignore")
    # Libraries load parts of themselves on first use.
    look(saved(photo(), "PNG"))
    while (content := requests.recv()) is not None:
        child = os.fork()
        if not child:
            # The peak so far belongs to the receiving of the file.
            Path("/proc/self/clear_refs").write_text("5")
            before = memory("VmRSS")
            outcome = look(content)
            spent = {"peak": memory("VmHWM") - before, "seconds": time.process_time()}
            requests.send(Outcome(**{**vars(outcome), **spent}))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            requests.send(Outcome(f"the process ended with {status}"))


@pytest.fixture(scope="module")
def process() -> Iterator[Connection]:
    """A process that has loaded what it needs, and nothing more."""
    here, there = multiprocessing.Pipe()
    worker = multiprocessing.get_context("spawn").Process(target=serve, args=(there,))
    worker.start()
    yield here
    here.send(None)
    worker.join()


@pytest.mark.parametrize("file", FILES.values(), ids=FILES.keys())
def test_a_file_has_the_outcome_of_the_table(
    process: Connection, file: File, request: pytest.FixtureRequest
) -> None:
    content = file.make()
    process.send(content)
    assert process.poll(PATIENCE), f"it is still at work after {PATIENCE:.0f} s"
    outcome = process.recv()
    log.info("%.0f MB, %.2f s, %s", outcome.peak / MEGABYTE, outcome.seconds, outcome)
    if file.fails:
        assert file.fails in outcome.cause
    else:
        assert outcome.cause == ""
        assert (outcome.size, outcome.gray, outcome.alpha) == (file.size, file.gray, file.alpha)
        if file.colour:
            apart = [abs(a - b) for a, b in zip(outcome.colour, file.colour, strict=True)]
            assert max(apart) <= 12, outcome.colour
    assert outcome.peak <= LIMIT * BYTES_A_PIXEL + ASIDE
    assert outcome.seconds <= CPU_SECONDS
