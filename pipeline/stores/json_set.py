"""A patch as SQLite's ``json_set``: the row is changed where it lies, in one statement.

Read, changed and written back, it would keep the write lock for all that Python does in between.
"""

import json
from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import create_model

from pipeline.records import Record
from pipeline.stores.patches import Patch, check_paths, set_paths

# With an option `json.dumps` makes an encoder for each value.
encoded = json.JSONEncoder(allow_nan=False).encode


class JsonSet(NamedTuple):
    """A patch in SQLite's words.

    Attributes:
        patch: the patch itself.
        body: the expression of the changed column ``body``.
        fits: the condition that what the paths lead through is there, and an object.
        parameters: of the former: what is set, as the parts of a record.
    """

    patch: Patch
    body: str
    fits: str
    parameters: dict[str, str]


class _Words(NamedTuple):
    """What a patch is in SQLite's words whatever its values, and the record of its fields alone."""

    body: str
    fits: str
    values: type[Record]


def json_set(patch: Patch, kind: type[Record], identity: Collection[str]) -> JsonSet:
    """The patch, its values checked as part of a record of that kind.

    Args:
        identity: see ``pipeline.stores.patches``.

    Raises:
        ValueError: it does not fit that record; see ``pipeline.stores.patches``.
    """
    words = _words(kind, tuple(patch), tuple(identity))
    document: dict[str, Any] = {}
    set_paths(document, patch)
    values = words.values.model_validate(document)
    return JsonSet(patch, words.body, words.fits, {"values": values.model_dump_json()})


# Which paths a stage sets hardly ever changes.
@lru_cache(maxsize=256)
def _words(kind: type[Record], paths: tuple[str, ...], identity: tuple[str, ...]) -> _Words:
    check_paths(paths, identity)
    pairs = ""
    ways: set[str] = set()
    for path in paths:
        *way, last = path.split(".")
        ways.update(_path(way[:depth]) for depth in range(1, len(way) + 1))
        place = _path([*way, last])
        pairs += f", {place}, :values -> {place}"
    fits = ["TRUE", *(f"json_type(body, {way}) = 'object'" for way in sorted(ways))]
    fields = {path.partition(".")[0] for path in paths}
    return _Words(f"json_set(body{pairs})", " AND ".join(fits), _part(kind, fields))


def _part(kind: type[Record], fields: Collection[str]) -> type[Record]:
    """A record of these fields: to check all others and to make their defaults takes longer."""
    if unknown := sorted(set(fields) - kind.model_fields.keys()):
        raise ValueError(f"{kind.__name__} has no {unknown[0]!r}")
    chosen: dict[str, Any] = {
        name: (kind.model_fields[name].annotation, kind.model_fields[name]) for name in fields
    }
    return create_model(f"{kind.__name__}Part", __base__=Record, **chosen)


def _path(steps: Collection[str]) -> str:
    path = "$" + "".join(f'."{step}"' for step in steps)
    return "'" + path.replace("'", "''") + "'"
