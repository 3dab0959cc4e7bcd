"""Idempotency keys: a hash of all that a result depends on."""

import hashlib
import json
from typing import Any


def stage_key(*inputs: Any) -> str:
    """A hash of JSON-compatible inputs, in order; equal inputs give equal keys everywhere."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
