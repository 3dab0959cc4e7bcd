"""A patch as SQLite's ``json_set``: the row is changed where it lies, in one statement.

Read, changed and written back, it would keep the write lock for all that Python does in between.
"""

import json
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

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
    """What a patch is in SQLite's words whatever its values, and the fields that it is in."""

    body: str
    fits: str
    fields: set[str]


def json_set(
    patch: Patch, kind: type[Record], identity: Collection[str], needed: Mapping[str, Any]
) -> JsonSet:
    """The patch, its values checked as part of a record of that kind.

    Args:
        identity: see ``pipeline.stores.patches``.
        needed: what every such record must have.

    Raises:
        ValueError: it does not fit that record; see ``pipeline.stores.patches``.
    """
    words = _words(tuple(patch), tuple(identity))
    document = dict(needed)
    set_paths(document, patch)
    record = kind.model_validate(document)
    parameters = {"values": record.model_dump_json(include=words.fields)}
    return JsonSet(patch, words.body, words.fits, parameters)


@lru_cache(maxsize=256)
def _words(paths: tuple[str, ...], identity: tuple[str, ...]) -> _Words:
    """Which paths a stage sets hardly ever changes."""
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
    return _Words(f"json_set(body{pairs})", " AND ".join(fits), fields)


def _path(steps: Collection[str]) -> str:
    path = "$" + "".join(f'."{step}"' for step in steps)
    return "'" + path.replace("'", "''") + "'"
