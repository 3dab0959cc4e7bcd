"""Pages are made a few at a time; some wait for their turn, and the rest are turned away.

Threads share one interpreter: of many pages at once each takes as long as all of them. And in a
queue without an end, everybody would wait for longer than anybody waits.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import Depends, Request

from pipeline.errors import TooBusy


class Turns:
    """Lets in a few at a time, in the order in which they came.

    Who waits holds no thread, so that all else is answered meanwhile.

    Args:
        at_once: most that are let in.
        waiting: most that wait.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._turns = anyio.Semaphore(at_once)
        self._most_waiting = waiting

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it inside the block.

        Raises:
            TooBusy: as many as may wait do.
        """
        waiting = self._turns.statistics().tasks_waiting
        if not self._turns.value and waiting >= self._most_waiting:
            raise TooBusy(f"{waiting} pages wait for their turn: ask again later")
        async with self._turns:
            yield


async def turn(request: Request) -> AsyncIterator[None]:
    """A turn for as long as a route makes its page, without the time in which it is sent."""
    async with request.app.state.services.turns.turn():
        yield


TURN = Depends(turn, scope="function")
