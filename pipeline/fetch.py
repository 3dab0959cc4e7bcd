"""Fetching a photo by its address, which somebody else has chosen.

The name is resolved once, all that it stands for is looked at, and the connection goes to exactly
that: a name that means something else a moment later leads nowhere else. Each redirect is looked at
in the same way.
"""

import logging
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from ipaddress import ip_address

import anyio
import httpx

from pipeline.errors import FetchFailed, FetchRefused
from pipeline.public_addresses import Address, Network, may_be_reached

# Seconds for which a server may ask to be left alone.
LONGEST_REST = 300.0
_GONE = {400, 401, 403, 404, 405, 406, 410, 414, 451}
_COMPRESSED = {"gzip", "x-gzip", "deflate"}
# Of zlib: a header of gzip or of zlib, whichever there is.
_ANY_HEADER = 47

MOST_REDIRECTS = 5
# One of several addresses of a name may be silent.
CONNECT_SECONDS = 5.0

# It logs whole addresses, in whose queries secrets stand.
logging.getLogger("httpx").setLevel(logging.WARNING)


def fetch(url: str, *, timeout: float, max_bytes: int, allowed: Collection[Network] = ()) -> bytes:
    """The bytes behind an http or https address.

    Args:
        url: may lead to public addresses only.
        timeout: seconds for all of it, redirects included.
        max_bytes: of the photo, once it is decompressed.
        allowed: networks that may be reached though they are not public.

    Raises:
        FetchRefused: the address may not be fetched, says that it will never serve the photo, or
            the photo is larger than ``max_bytes``.
        FetchFailed: it did not answer in ``timeout`` seconds, or not well this time.
    """
    return anyio.run(_in_time, url, timeout, max_bytes, allowed)


async def _in_time(url: str, timeout: float, max_bytes: int, allowed: Collection[Network]) -> bytes:
    address = _web_address(url)
    try:
        with anyio.fail_after(timeout):
            return await _follow(address, max_bytes, allowed)
    except TimeoutError as error:
        raise FetchFailed(f"{_shown(address)} took longer than {timeout:g} s") from error
    except httpx.HTTPError as error:
        raise FetchFailed(f"{_shown(address)} did not answer: {error}") from error


async def _follow(url: httpx.URL, max_bytes: int, allowed: Collection[Network]) -> bytes:
    for _ in range(MOST_REDIRECTS + 1):
        async with _asked(url, await _resolve(url, allowed)) as answer:
            if not answer.has_redirect_location:
                return await _read(url, answer, max_bytes)
            url = _web_address(answer.headers["location"], url)
    raise FetchRefused(f"{_shown(url)} comes after {MOST_REDIRECTS} redirects, which is too many")


def _web_address(text: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        url = base.join(text) if base else httpx.URL(text)
    except httpx.InvalidURL as error:
        raise FetchRefused("the address of the photo cannot be read") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise FetchRefused(f"an address begins with http:// or https://, not {url.scheme}:")
    if url.userinfo:
        raise FetchRefused(f"{_shown(url)}: an address with a user name is not fetched")
    return url


def _shown(url: httpx.URL) -> str:
    """What logs may hold of an address: no user name, no query."""
    return f"{url.scheme}://{(url.netloc + url.raw_path.partition(b'?')[0]).decode('ascii')}"


async def _resolve(url: httpx.URL, allowed: Collection[Network]) -> list[Address]:
    """What the name of the host stands for, all of which may be reached."""
    host = url.raw_host.decode("ascii")
    resolve = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    try:
        # A resolver cannot be interrupted; its thread ends by itself.
        found = await anyio.to_thread.run_sync(resolve, abandon_on_cancel=True)
    except OSError as error:
        raise FetchFailed(f"{_shown(url)}: the name {host} is not known: {error}") from error
    except UnicodeError as error:
        raise FetchRefused(f"{_shown(url)}: {host} cannot be the name of a host") from error
    addresses = list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))
    if not all(may_be_reached(address, allowed) for address in addresses):
        raise FetchRefused(
            f"{_shown(url)}: {host} is not at a public address; "
            "JUSTLENS_FETCH_NETWORKS lists the networks that are allowed beside"
        )
    return addresses


@asynccontextmanager
async def _asked(url: httpx.URL, addresses: Sequence[Address]) -> AsyncIterator[httpx.Response]:
    """The answer of the first of the addresses that can be connected to."""
    # A connection belongs to the name that its certificate was compared with: none is kept. And no
    # proxy of the environment, which would look the name up by itself.
    async with httpx.AsyncClient(
        verify=_authorities(), trust_env=False, timeout=httpx.Timeout(None, connect=CONNECT_SECONDS)
    ) as client:
        answer = await _first_answer(client, url, addresses)
        try:
            yield answer
        finally:
            await answer.aclose()


async def _first_answer(
    client: httpx.AsyncClient, url: httpx.URL, addresses: Sequence[Address]
) -> httpx.Response:
    for number, address in enumerate(addresses, start=1):
        request = client.build_request(
            "GET",
            url.copy_with(host=str(address)),
            headers={"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"},
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        try:
            return await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if number == len(addresses):
                raise
    raise FetchFailed(f"{_shown(url)}: its name stands for no address")


@lru_cache(maxsize=1)
def _authorities() -> ssl.SSLContext:
    """Whom certificates are believed from; ``SSL_CERT_FILE`` names others."""
    return httpx.create_ssl_context()


async def _read(url: httpx.URL, answer: httpx.Response, max_bytes: int) -> bytes:
    if answer.status_code in _GONE:
        raise FetchRefused(f"{_shown(url)} answered {answer.status_code}")
    if answer.status_code >= 300:
        after = answer.headers.get("retry-after", "")
        raise FetchFailed(
            f"{_shown(url)} answered {answer.status_code}",
            min(float(after), LONGEST_REST) if after.isdecimal() else 0.0,
        )
    coding = answer.headers.get("content-encoding", "identity").strip().lower()
    if coding not in _COMPRESSED | {"identity"}:
        raise FetchRefused(
            f"{_shown(url)} answered in the coding {coding}, which was not asked for"
        )
    # Decompressed here, piece by piece: a few bytes may stand for gigabytes.
    decompress = zlib.decompressobj(_ANY_HEADER) if coding in _COMPRESSED else None
    content = bytearray()
    async for piece in answer.aiter_raw():
        try:
            left = max_bytes + 1 - len(content)
            content += decompress.decompress(piece, left) if decompress else piece
        except zlib.error as error:
            raise FetchRefused(f"{_shown(url)} is not compressed as it says: {error}") from error
        if len(content) > max_bytes:
            raise FetchRefused(f"{_shown(url)} is larger than {max_bytes} bytes")
    if decompress and not decompress.eof:
        raise FetchFailed(f"{_shown(url)} ended before its end")
    return bytes(content)
