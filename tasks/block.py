"""A `with` block that begins and ends something, for where a run passes again and again."""

from collections.abc import Callable


class Block:
    """Calls ``begin`` at the start of a block and ``end`` at its end, however it comes to that.

    A generator of contextlib costs several times as much. Without arguments in the two, one serves
    all threads.
    """

    __slots__ = ("_begin", "_end")

    def __init__(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._begin = begin
        self._end = end

    def __enter__(self) -> None:
        self._begin()

    def __exit__(self, *_: object) -> None:
        self._end()
