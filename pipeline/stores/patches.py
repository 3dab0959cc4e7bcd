"""Patches of records: dotted paths to new values, with the meaning of MongoDB's ``$set``."""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pipeline.records import Record

Patch = Mapping[str, Any]
"""Dotted paths to JSON values, as in MongoDB's ``$set``: ``{"stages.tag": {...}, "tags": []}``."""

R = TypeVar("R", bound=Record)


def patched(record: R, patch: Patch, identity: Collection[str]) -> R:
    """A copy of ``record`` with the patch applied, checked like any record.

    Parameters:
        identity: fields that say which record it is, and that no patch may name.

    Raises:
        ValueError: the patch names a field of the identity or one that the record has not, gives
            a value of the wrong type, leads through a value that is not an object, or names both
            a field and a part of it.
    """
    document = record.model_dump(mode="json")
    check_paths(patch, identity)
    apply_patch(document, patch)
    return type(record).model_validate(document)


def apply_patch(document: dict[str, Any], patch: Patch) -> None:
    """Set each path in ``document``, in place; objects on the way are made where they are absent.

    Raises:
        ValueError: a path is empty, leads through a value that is not an object, or one path of
            the patch leads through another; nothing has been changed then.
    """
    check_paths(patch)
    for path in patch:
        place: Any = document
        way = path.split(".")[:-1]
        for depth, step in enumerate(way, start=1):
            place = place.get(step, {})
            if not isinstance(place, dict):
                through = ".".join(way[:depth])
                raise ValueError(f"{path!r} leads through {through!r}, which is not an object")
    set_paths(document, patch)


def check_paths(paths: Collection[str], identity: Collection[str] = ()) -> None:
    """Raise ``ValueError`` if no patch may name these paths, or not together."""
    for path in paths:
        *way, last = path.split(".")
        if not last or not all(way):
            raise ValueError(f"{path!r} is not a dotted path")
        if (way or [last])[0] in identity:
            raise ValueError(f"{path!r} says which record it is and cannot be patched")
        for depth in range(1, len(way) + 1):
            if (through := ".".join(way[:depth])) in paths:
                raise ValueError(f"the patch names both {through!r} and {path!r}")


def set_paths(document: dict[str, Any], patch: Patch) -> None:
    """Set paths that were checked, and lead through nothing but objects; see ``apply_patch``."""
    for path, value in patch.items():
        *way, last = path.split(".")
        place: Any = document
        for step in way:
            place = place.setdefault(step, {})
        place[last] = value
