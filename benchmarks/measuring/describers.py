"""Describers that take a known time, waiting or computing, beside what the ordinary one does."""

import hashlib
import time
from typing import Any

from models.describer import Description, TagDescriber

SECONDS = {"waits": 0.2, "computes": 0.3}

# Hashed outside Python's lock, as a network computes; so long at a time that coming back for the
# lock, behind threads that hold it for 5 ms each, does not count.
_BLOCK = bytes(1 << 24)


class Waits(TagDescriber):
    """Waits like for the answer of a server."""

    name = "waits"

    def __call__(self, *arguments: Any, **options: Any) -> Description:
        time.sleep(SECONDS["waits"])
        return super().__call__(*arguments, **options)


class Computes(TagDescriber):
    """Computes on one core, by the clock of its own thread."""

    name = "computes"

    def __call__(self, *arguments: Any, **options: Any) -> Description:
        until = time.thread_time() + SECONDS["computes"]
        while time.thread_time() < until:
            hashlib.sha256(_BLOCK).digest()
        return super().__call__(*arguments, **options)
