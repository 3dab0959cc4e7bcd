"""A patch as SQLite's ``json_set``: the row is changed where it lies, in one statement.

Read, changed and written back, it would keep the write lock for all that Python does in between.
"""

import json
from collections.abc import Collection
from functools import lru_cache, reduce
from operator import getitem
from typing import Any, NamedTuple

from pipeline.records import Record
from pipeline.stores.patches import Patch, patched

# With an option `json.dumps` makes an encoder for each value.
encoded = json.JSONEncoder(allow_nan=False).encode


class JsonSet(NamedTuple):
    """A patch in SQLite's words.

    Attributes:
        body: the expression of the changed column ``body``.
        fits: the condition that what the paths lead through is there, and an object.
        parameters: of the former: the values as one JSON list.
        values: what is set, by path, as JSON values.
    """

    body: str
    fits: str
    parameters: dict[str, str]
    values: dict[str, Any]


def json_set(patch: Patch, blank: Record, identity: Collection[str]) -> JsonSet:
    """The patch, its values checked as part of ``blank``, a record of that kind.

    Raises:
        ValueError: it does not fit that record; see ``pipeline.stores.patches``.
    """
    document = patched(blank, patch, identity).model_dump(mode="json")
    values = {path: reduce(getitem, path.split("."), document) for path in patch}
    parameters = {"values": encoded([*values.values()])}
    return JsonSet(*_words(tuple(patch)), parameters, values)


@lru_cache(maxsize=256)
def _words(paths: tuple[str, ...]) -> tuple[str, str]:
    """Body and condition; which paths a stage sets hardly ever changes."""
    pairs = ""
    ways: set[str] = set()
    for number, path in enumerate(paths):
        *way, last = path.split(".")
        ways.update(_path(way[:depth]) for depth in range(1, len(way) + 1))
        pairs += f", {_path([*way, last])}, :values -> {number}"
    fits = ["TRUE", *(f"json_type(body, {way}) = 'object'" for way in sorted(ways))]
    return f"json_set(body{pairs})", " AND ".join(fits)


def _path(steps: Collection[str]) -> str:
    path = "$" + "".join(f'."{step}"' for step in steps)
    return "'" + path.replace("'", "''") + "'"
