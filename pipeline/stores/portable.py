"""What a back-up, a restore and a move ask of a store: its rows as plain JSON values."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

Row = dict[str, Any]


class Portable(ABC):
    """A store whose rows can be carried to another one of its kind, on whatever server.

    Attributes:
        parts: the names of what it holds, in the order in which they are to be added elsewhere.
    """

    parts: tuple[str, ...]

    @abstractmethod
    def every_row(self, part: str) -> Iterator[Row]:
        """All rows of a part, read in pages."""

    @abstractmethod
    def add_rows(self, part: str, rows: Sequence[Row]) -> None:
        """Add rows as they are; where a key is taken, what is there stays. Safe to repeat."""
