"""A directory is added to stores: from a back-up, or from other stores."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.backup.parts import (
    UNDER_WAY,
    Source,
    belonging,
    is_empty,
    is_needed,
    portions,
    stores_by_part,
)
from pipeline.errors import BackUpDamaged, ObjectMissing, StoresNotEmpty
from pipeline.stores import Stores

Step = Callable[[str, int], None]
OBJECTS = "objects"


@dataclass
class Carried:
    """What became of it.

    Attributes:
        rows: how many there were, by part, and how many objects.
        left_out: how many of them belong to no photo that was carried.
        refused: what is wrong with each object that was not added.
    """

    rows: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)


def carry(
    source: Source,
    stores: Stores,
    *,
    merge: bool = False,
    step: Step = lambda _part, _count: None,
) -> Carried:
    """Add all of it, in small steps that may be cut off and are safe to repeat.

    What the stores have already stays as it is.

    Args:
        merge: into stores that hold a directory already.
        step: is told after each portion which part it was of, and how many of it.

    Raises:
        StoresNotEmpty: they hold something, and not from a carrying of the same source.
    """
    stores.prepare()
    if stores.documents.value(UNDER_WAY) != source.id and not merge and not is_empty(stores):
        raise StoresNotEmpty(
            "the stores of these settings hold a directory already; what works: other settings, "
            "or --merge, which adds what is missing and changes nothing that is there"
        )
    stores.documents.save_value(UNDER_WAY, source.id)
    carried = Carried()
    for part, store in stores_by_part(stores).items():
        for rows in portions(source.rows(part)):
            own = belonging(stores, part, rows)
            store.add_rows(part, own)
            carried.rows[part] += len(own)
            carried.left_out[part] += len(rows) - len(own)
            step(part, len(rows))
    for key, read in source.objects():
        _add_object(stores, key, read, carried)
        step(OBJECTS, 1)
    stores.documents.save_value(UNDER_WAY, None)
    return carried


def _add_object(stores: Stores, key: str, read: Callable[[], bytes], carried: Carried) -> None:
    if not is_needed(stores, key):
        carried.left_out[OBJECTS] += 1
        return
    try:
        if not stores.objects.exists(key):
            stores.objects.put(key, read())
        carried.rows[OBJECTS] += 1
    except (BackUpDamaged, ObjectMissing) as error:
        # All the others are wanted nevertheless.
        carried.refused.append(str(error))
