"""The JSON that messages travel in: Celery's own, written and read by faster libraries.

A message carries the rest of its graph, and is written and read at every stage. What the libraries
do not take is left to kombu, which can always read what is written here.
"""

from contextlib import suppress
from typing import Any

import orjson
from kombu.utils import json as by_kombu
from pydantic_core import from_json

# orjson writes; it reads whole numbers above 64 bits as fractions, pydantic's reader as they are.
# Dates are left to kombu, which marks them as such.
_PLAIN = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_MARK = "__type__"


def dumps(value: Any) -> bytes:
    """A value as JSON in UTF-8; NaN and infinity, which JSON does not know, become null.

    Raises:
        TypeError: no JSON can be made of it.
    """
    try:
        return orjson.dumps(value, option=_PLAIN)
    except TypeError:
        return by_kombu.dumps(value).encode()


def loads(text: str | bytes | bytearray | memoryview) -> Any:
    """The value that is written in JSON.

    Raises:
        ValueError: it is not JSON, or not in UTF-8.
        RecursionError: it is nested too deeply.
    """
    plain = text if isinstance(text, str) else bytes(text)
    is_marked = _MARK in plain if isinstance(plain, str) else _MARK.encode() in plain
    if not is_marked:
        with suppress(ValueError):
            return from_json(plain)
    return by_kombu.loads(text)
