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
    for path in patch:
        if path.split(".", 1)[0] in identity:
            raise ValueError(f"{path!r} says which record it is and cannot be patched")
    document = record.model_dump(mode="json")
    apply_patch(document, patch)
    return type(record).model_validate(document)


def apply_patch(document: dict[str, Any], patch: Patch) -> None:
    """Set each path in ``document``, in place; objects on the way are made where they are absent.

    Raises:
        ValueError: a path is empty, leads through a value that is not an object, or one path of
            the patch leads through another; nothing has been changed then.
    """
    _refuse_conflicts(document, patch)
    for path, value in patch.items():
        *way, last = path.split(".")
        place = document
        for step in way:
            place = place.setdefault(step, {})
        place[last] = value


def _refuse_conflicts(document: dict[str, Any], patch: Patch) -> None:
    for path in patch:
        *way, last = path.split(".")
        if not last or not all(way):
            raise ValueError(f"{path!r} is not a dotted path")
        place: Any = document
        for depth, step in enumerate(way, start=1):
            through = ".".join(way[:depth])
            if through in patch:
                raise ValueError(f"the patch names both {through!r} and {path!r}")
            place = place.get(step, {})
            if not isinstance(place, dict):
                raise ValueError(f"{path!r} leads through {through!r}, which is not an object")
