"""Other processes that use a store at the same time, or are killed while they do."""

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

from tests.processes import FRESH

SECONDS = 60

Work = Callable[..., Any]


def run_side_by_side(work: Work, argument_lists: Iterable[tuple[Any, ...]]) -> list[Any]:
    """What each call of ``work`` returned, all of them run at once in fresh processes."""
    argument_lists = list(argument_lists)
    start = FRESH.Barrier(len(argument_lists))
    running = []
    for arguments in argument_lists:
        receiver, sender = FRESH.Pipe(duplex=False)
        process = FRESH.Process(target=_work, args=(sender, start, work, arguments))
        process.start()
        sender.close()
        running.append((process, receiver))
    results = []
    for process, receiver in running:
        results.append(receiver.recv() if receiver.poll(SECONDS) else None)
        process.join(SECONDS)
        assert process.exitcode == 0
    return results


def run_and_kill(work: Work, *arguments: Any) -> None:
    """Run ``work`` in a fresh process that is killed as soon as it has returned."""
    process = FRESH.Process(target=_work_and_die, args=(work, arguments))
    process.start()
    process.join(SECONDS)
    assert process.exitcode == -signal.SIGKILL


def _work(sender: Any, start: Any, work: Work, arguments: tuple[Any, ...]) -> None:
    start.wait(SECONDS)
    sender.send(work(*arguments))


def _work_and_die(work: Work, arguments: tuple[Any, ...]) -> None:
    work(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
