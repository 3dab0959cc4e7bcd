"""Fetching a photo by its address."""

import httpx

from pipeline.errors import FetchFailed, FetchRefused

_GONE = {400, 401, 403, 404, 405, 406, 410, 414, 451}


def fetch(url: str, *, timeout: float, max_bytes: int) -> bytes:
    """The bytes behind an http or https address.

    Raises:
        FetchRefused: the address is not http(s), says that it will never serve the photo, or the
            photo is larger than ``max_bytes``.
        FetchFailed: it did not answer in ``timeout`` seconds, or not well this time.
    """
    try:
        with httpx.stream("GET", url, timeout=timeout, follow_redirects=True) as answer:
            if answer.status_code in _GONE:
                raise FetchRefused(f"{url} answered {answer.status_code}")
            if answer.status_code >= 300:
                raise FetchFailed(f"{url} answered {answer.status_code}")
            content = bytearray()
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > max_bytes:
                    raise FetchRefused(f"{url} is larger than {max_bytes} bytes")
            return bytes(content)
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise FetchRefused(f"{url!r} is not an http or https address") from error
    except httpx.HTTPError as error:
        raise FetchFailed(f"{url} did not answer: {error}") from error
