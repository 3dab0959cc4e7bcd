"""Where the processor's time goes in workers: py-spy's samples, sorted into items.

A sample is the stack of the thread that holds the interpreter. It belongs to the first item below
that any of its frames is of.
"""

import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

RATE = 200  # samples a second
STARTS = 1.5  # seconds

# Parts of the paths, or the names, of frames.
ITEMS: Mapping[str, tuple[str, ...]] = {
    "logging": ("logging/__init__.py", "pipeline/logs.py", "tasks/logs.py"),
    "events for Flower": ("celery/events/",),
    "JSON and checks": (
        "json/",
        "pydantic/",
        "kombu/serialization.py",
        "kombu/utils/json.py",
        "stores/patches.py",
    ),
    "stores": ("pipeline/stores/", "sqlalchemy/", "pymysql/", "transaction (measuring/by_hand.py"),
    "chord join": ("celery/backends/", "redis/commands/core.py:on_chord"),
    "broker": ("kombu/", "amqp/", "redis/", "pipeline/valkey.py", "celery/app/amqp.py"),
    "pictures and scores": (
        "pipeline/imaging.py",
        "pipeline/scoring.py",
        "pipeline/looks.py",
        "pipeline/enhancement.py",
        "models/",
        "PIL/",
        "tests/fast_models.py",
        "measuring/free_models.py",
    ),
    "our bookkeeping": ("tasks/", "pipeline/"),
    "Celery": ("celery/", "concurrent/futures/", "billiard/"),
}
OTHER = "other"
# What runs the loop is in every stack of its thread, and says nothing.
LOOP = ("kombu/asynchronous/hub.py", "celery/worker/loops.py", "celery/bin/", "celery/__main__.py")


class NoProfile(Exception):
    """py-spy is not allowed to look at other processes here, or is not installed."""


def profiled(processes: Sequence[int], work: Callable[[], int]) -> dict[str, float]:
    """Milliseconds by item that ``processes`` held the interpreter for each thing that was done.

    Args:
        processes: their ids.
        work: does it, and returns how many things it did.

    Raises:
        NoProfile: there are no samples.
    """
    with tempfile.TemporaryDirectory(prefix="justlens-profile-") as folder:
        paths = [Path(folder) / str(process) for process in processes]
        watchers = [_watch(process, path) for process, path in zip(processes, paths, strict=True)]
        try:
            for watcher in watchers:
                _wait(watcher)
            done = work()
        finally:
            for watcher in watchers:
                watcher.send_signal(signal.SIGINT)
                watcher.wait(60)
        samples: Counter[str] = Counter()
        for path in paths:
            if not path.exists():
                raise NoProfile("py-spy has left no samples; it needs the right to trace processes")
            for line in path.read_text().splitlines():
                stack, _, count = line.rpartition(" ")
                # A name may hold a line break.
                if count.isdecimal():
                    samples[item_of(stack)] += int(count)
    return {name: 1000 * samples[name] / RATE / done for name in (*ITEMS, OTHER)}


def item_of(stack: str) -> str:
    """The item of a stack, whose frames are ``name (path:line)`` from the outermost on."""
    frames = [frame for frame in stack.split(";") if not any(part in frame for part in LOOP)]
    for name, parts in ITEMS.items():
        if any(part in frame for frame in frames for part in parts):
            return name
    return OTHER


def _watch(process: int, path: Path) -> "subprocess.Popen[bytes]":
    command = [str(Path(sys.executable).with_name("py-spy")), "record", "--gil", "--nonblocking"]
    options = ["--rate", str(RATE), "--format", "raw", "--duration", "600", "--output", str(path)]
    try:
        return subprocess.Popen(
            [*command, *options, "--pid", str(process)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise NoProfile(f"py-spy does not start: {error}") from error


def _wait(watcher: "subprocess.Popen[bytes]") -> None:
    """Until it looks; py-spy says nothing when it begins."""
    try:
        watcher.wait(STARTS)
    except subprocess.TimeoutExpired:
        return
    raise NoProfile("py-spy ended at once; it needs the right to trace processes")
