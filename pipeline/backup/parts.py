"""What a directory consists of, whatever stores it lies in, and what is read of it elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Protocol

from pipeline.records import AltSource
from pipeline.stores import Stores
from pipeline.stores.objects import PUBLIC_FOLDERS
from pipeline.stores.portable import Portable, Row

# Rows that are read and added at a time: the memory that it takes does not grow with a directory.
AT_ONCE = 200
# What an installation may have before it holds a directory.
OF_AN_EMPTY_ONE = frozenset({"named_values", "api_keys"})
# A named value: the id of what is being carried into these stores.
UNDER_WAY = "restoring"


class Source(Protocol):
    """Where a directory comes from.

    Attributes:
        id: what tells it from others, so that what was cut off is gone on with and not mixed.
    """

    id: str

    def rows(self, part: str) -> Iterator[Row]:
        """All rows of a part."""

    def objects(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """The keys of all objects in the order of their bytes, each with what reads it.

        That raises ``ObjectMissing`` where there is none any more, and ``BackUpDamaged`` where it
        is not what it was.
        """


class StoresSource:
    """A directory in its stores.

    Args:
        name: what it is called where it is carried to.
    """

    def __init__(self, stores: Stores, name: str = "") -> None:
        self.id = name
        self._stores = stores
        self._parts = stores_by_part(stores)

    def rows(self, part: str) -> Iterator[Row]:
        """All rows of a part, but for what is only true where they are."""
        rows = self._parts[part].every_row(part)
        return (row for row in rows if part != "named_values" or row["name"] != UNDER_WAY)

    def objects(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """The keys of all objects, each with what reads it."""
        for key in self._stores.objects.keys():  # noqa: SIM118
            yield key, partial(self._stores.objects.get, key)


def stores_by_part(stores: Stores) -> dict[str, Portable]:
    """The store of each part, in the order in which they are read and added.

    Images come before all that belongs to one. Whatever is read later may hold more than they
    name, which is left out when it is added; it never holds less.
    """
    in_order: tuple[Portable, ...] = (
        *(stores.documents, stores.directory, stores.vectors),
        *(stores.events, stores.queries, stores.shadow, stores.keys),
    )
    return {part: store for store in in_order for part in store.parts}


def is_empty(stores: Stores) -> bool:
    """Whether the stores hold no directory yet."""
    for part, store in stores_by_part(stores).items():
        if part not in OF_AN_EMPTY_ONE and any(True for _ in islice(store.every_row(part), 1)):
            return False
    return not any(True for _ in islice(stores.objects.keys(), 1))


def belonging(stores: Stores, part: str, rows: Sequence[Row]) -> list[Row]:
    """Those rows whose photo is in the stores; an alt text that a person wrote is always kept."""
    if part == "pixel_facts":
        known = stores.documents.hashes_in_use([row["sha256"] for row in rows])
        return [row for row in rows if row["sha256"] in known]
    if part not in ("alttags", "image_embeddings"):
        return list(rows)
    images = stores.documents.images_of([_image(row) for row in rows])
    return [row for row in rows if _image(row) in images or row.get("source") == AltSource.MANUAL]


def is_needed(stores: Stores, key: str) -> bool:
    """Whether an object belongs to an image in the stores, or to none at all, as a model does."""
    if not key.startswith(PUBLIC_FOLDERS):
        return True
    return bool(stores.documents.images_with(key, limit=1))


def portions(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """The rows, some at a time."""
    while some := list(islice(rows, AT_ONCE)):
        yield some


def _image(row: Row) -> tuple[str, int]:
    return row["docid"], row["product_id"]
