"""Ids for what comes without one: the same thing is given the same number, wherever it comes in."""

import hashlib
import zlib


def category_number(name: str) -> int:
    """A catid for a category, from its name."""
    return zlib.crc32(name.strip().lower().encode()) + 1


def file_number(name: str) -> int:
    """A product_id for a file, from its name."""
    return content_number(name.encode())


def content_number(content: bytes) -> int:
    """A product_id for a photo, from its bytes; below 2**53, which JavaScript counts exactly."""
    return int.from_bytes(hashlib.sha256(content).digest()[:6], "big") + 1
