"""``justlens forget`` in processes that kill themselves half-way: run by a test as one of its own.

The first business is forgotten undisturbed, and its calls of stores and queues are counted. Each of
the others is begun in a process that ends by SIGKILL before or after one of as many calls, drawn by
a seed. Nothing may be connected before it forks.
"""

import json
import os
import random
import signal
import sys
from dataclasses import fields, replace
from typing import Any

import cli.forget
from pipeline.error_queues import ErrorQueues
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores


class Fuse:
    """Kills this process at one of its moments: there is one before and one after each call."""

    def __init__(self, moment: int | None) -> None:
        self._moment = moment
        self.passed = 0

    def burn(self) -> None:
        """Another moment."""
        if self.passed == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1

    def around(self, call: Any) -> Any:
        """The same call between two moments."""

        def between(*arguments: Any, **named: Any) -> Any:
            self.burn()
            result = call(*arguments, **named)
            self.burn()
            return result

        return between


class Watched:
    """A store whose calls the fuse sees."""

    def __init__(self, store: Any, fuse: Fuse) -> None:
        self._store = store
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        return self._fuse.around(getattr(self._store, name))


def forget(docid: str, moment: int | None) -> int:
    """Forget a business; returns how many moments it took, if it comes to its end."""
    fuse = Fuse(moment)

    def watched(settings: Settings) -> Stores:
        stores = open_stores(settings)
        names = [field.name for field in fields(stores)]
        return replace(stores, **{name: Watched(getattr(stores, name), fuse) for name in names})

    cli.forget.open_stores = watched
    withdraw = ErrorQueues.withdraw
    ErrorQueues.withdraw = lambda self, *args: fuse.around(withdraw)(self, *args)  # type: ignore[method-assign]
    cli.forget.forget(docid, None, yes=True, json_output=True)
    return fuse.passed


def in_a_fork(docid: str, moment: int | None) -> tuple[int, int]:
    """The same in a process of its own; returns the signal that ended it and how far it came."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, str(forget(docid, moment)).encode())
        os._exit(0)
    os.close(write)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        passed = int(pipe.read() or 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, passed


def main(seed: str, first: str, *others: str) -> None:
    """Prints the moment at which each of the others was killed."""
    _, passed = in_a_fork(first, None)
    moments = random.Random(int(seed)).sample(range(passed), min(len(others), passed))
    killed = {}
    for docid, moment in zip(others, moments, strict=False):
        ended_by, _ = in_a_fork(docid, moment)
        assert ended_by == signal.SIGKILL, (docid, moment, ended_by)
        killed[docid] = moment
    print(json.dumps(killed), file=sys.stderr)  # noqa: T201 - its answer


if __name__ == "__main__":
    main(*sys.argv[1:])
