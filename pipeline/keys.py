"""Idempotency keys: a hash of all that a result depends on."""

import hashlib
import json
from typing import Any

# With options `json.dumps` makes an encoder for each value.
_encoded = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode


def stage_key(*inputs: Any) -> str:
    """A hash of JSON-compatible inputs, in order; equal inputs give equal keys everywhere."""
    return hashlib.sha256(_encoded(inputs).encode()).hexdigest()[:32]
