"""Keys of the web applications: made at random, kept as hashes, each good for a few things.

A key is 256 random bits. Nobody finds it by trying, so that one round of SHA-256 keeps it: slow
hashes are for what people choose, and would cost every request their time.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

# By which people and scanners for lost secrets know it.
PREFIX = "jl"
# What is known of a key may be so many seconds old: a revoked one is refused after them.
KEY_SECONDS = 5
_FORM = re.compile(rf"{PREFIX}_([0-9a-f]{{12}})_[A-Za-z0-9_-]{{43}}")


class Scope(StrEnum):
    """What a key is good for; ``admin`` for everything."""

    READ = "read"
    INGEST = "ingest"
    ADMIN = "admin"


class ApiKey(BaseModel):
    """What is kept of a key."""

    model_config = ConfigDict(frozen=True)

    key_id: str = Field(description="The part of the key that may be seen.")
    name: str = Field(description="Whose it is, in people's words.")
    digest: str = Field(description="SHA-256 of the whole key, hexadecimal.")
    scopes: frozenset[Scope]
    created_at: float = Field(description="Unix time.")
    revoked_at: float | None = Field(None, description="Unix time; None: it holds.")

    def is_that(self, text: str) -> bool:
        """Whether a text is this key and the key holds."""
        return self.revoked_at is None and hmac.compare_digest(self.digest, _digest(text))

    def opens(self, scopes: Iterable[Scope]) -> bool:
        """Whether it is good for what any of the scopes opens."""
        return bool(self.scopes & {Scope.ADMIN, *scopes})


def make_key(name: str, scopes: Iterable[Scope]) -> tuple[str, ApiKey]:
    """A new key, to be shown once, and what is kept of it."""
    key_id = secrets.token_hex(6)
    text = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
    return text, ApiKey(
        key_id=key_id,
        name=name,
        digest=_digest(text),
        scopes=frozenset(scopes),
        created_at=time.time(),
    )


def id_of(text: str) -> str:
    """The id that stands in a key; empty: it is none."""
    found = _FORM.fullmatch(text)
    return found[1] if found else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
