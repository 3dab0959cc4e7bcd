"""Who sends a request: by a key, by the cookie of somebody who signed in, or by where from."""

import os
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from cachetools import TTLCache
from itsdangerous import BadSignature, TimestampSigner
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from pipeline.api_keys import KEY_SECONDS, ApiKey, Scope, id_of
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings

COOKIE = "justlens_session"
SESSION_SECONDS = 12 * 3600

MOST_KEYS = 10_000


@dataclass(frozen=True)
class Visitor:
    """Who sends a request.

    Attributes:
        address: of the network; empty: unknown.
        key: that was sent and holds.
        by_cookie: the key is that of a session, which a browser sends by itself.
        is_unknown: something was sent that is no key, or none that holds.
        is_trusted: asks from where no key is demanded.
    """

    address: str
    key: ApiKey | None = None
    by_cookie: bool = False
    is_unknown: bool = False
    is_trusted: bool = False

    def may(self, needs: Iterable[Scope]) -> bool:
        """Whether what any of the scopes opens is open to it."""
        if self.key is not None:
            return self.key.opens(needs)
        return self.is_trusted and not self.is_unknown


class Visitors:
    """Tells who sends a request, without a read of the store for each.

    Args:
        settings: of this process.
        find: the key of an id, from the store.
        clock: in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        find: Callable[[str], ApiKey | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._find = find
        self._known: TTLCache[str, ApiKey | None] = TTLCache(MOST_KEYS, KEY_SECONDS, clock)

    async def who(self, request: Request) -> Visitor:
        """The sender of a request.

        Raises:
            StoreUnavailable: the store of keys does not answer.
            ConfigurationError: there is no secret to sign cookies with, or no table of keys.
        """
        address = address_of(request)
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        trusted = self._trusts(address)
        if kind.lower() == "bearer":
            key = await self.key(text.strip())
            return Visitor(address, key, is_unknown=key is None, is_trusted=trusted)
        if cookie := request.cookies.get(COOKIE):
            key = await self._of_session(cookie)
            return Visitor(address, key, by_cookie=key is not None, is_trusted=trusted)
        return Visitor(address, is_trusted=trusted)

    async def key(self, text: str) -> ApiKey | None:
        """The key that a text is; None: it is none that holds."""
        found = await self._of_id(id_of(text))
        return found if found and found.is_that(text) else None

    def session(self, key: ApiKey) -> str:
        """The cookie of a browser that has sent this key."""
        return self._signer.sign(key.key_id).decode()

    async def _of_session(self, cookie: str) -> ApiKey | None:
        try:
            key_id = self._signer.unsign(cookie, max_age=SESSION_SECONDS).decode()
        except BadSignature:
            return None
        found = await self._of_id(key_id)
        return found if found and found.revoked_at is None else None

    async def _of_id(self, key_id: str) -> ApiKey | None:
        if not key_id:
            return None
        try:
            return self._known[key_id]
        except KeyError:
            found = await run_in_threadpool(self._find, key_id)
            self._known[key_id] = found
            return found

    def _trusts(self, address: str) -> bool:
        return self._settings.open_to == "all" or (
            self._settings.open_to == "loopback" and is_loopback(address)
        )

    @cached_property
    def _signer(self) -> TimestampSigner:
        secret = self._settings.session_secret.get_secret_value()
        return TimestampSigner(
            secret or _own_secret(self._settings.data_dir / "session.secret"),
            salt="justlens session",
            digest_method=sha256,
        )


def address_of(request: Request) -> str:
    """From where a request comes; empty: unknown."""
    return request.client.host if request.client else ""


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback


def _own_secret(path: Path) -> str:
    """What is in the file, which is made when it is first needed."""
    try:
        if not path.exists():
            _make_secret(path)
        return path.read_text()
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error}; set JUSTLENS_SESSION_SECRET"
        ) from error


def _make_secret(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(32))
    # Of several processes that are at it one comes first, and nobody reads half a secret.
    with suppress(FileExistsError):
        os.link(own, path)
    own.unlink()
