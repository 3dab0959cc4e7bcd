"""A patch as SQLite's ``json_set``: the row is changed where it lies, in one statement.

Read, changed and written back, it would keep the write lock for all that Python does in between.
"""

import json
from collections.abc import Collection
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
        parameters: of both.
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
    parameters: dict[str, str] = {}
    values: dict[str, Any] = {}
    pairs, ways = "", set()
    for number, path in enumerate(patch):
        value: Any = document
        *way, last = path.split(".")
        for depth, step in enumerate(way, start=1):
            ways.add(_path(way[:depth]))
            value = value[step]
        values[path] = value[last]
        parameters[f"path_{number}"] = _path([*way, last])
        parameters[f"value_{number}"] = encoded(value[last])
        pairs += f", :path_{number}, json(:value_{number})"
    fits = ["TRUE"]
    for number, led_through in enumerate(sorted(ways)):
        parameters[f"way_{number}"] = led_through
        fits.append(f"json_type(body, :way_{number}) = 'object'")
    return JsonSet(f"json_set(body{pairs})", " AND ".join(fits), parameters, values)


def _path(steps: Collection[str]) -> str:
    return "$" + "".join(f'."{step}"' for step in steps)
