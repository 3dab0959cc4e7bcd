"""Purging by a plain HTTP request: caches that take ``PURGE``, and CDNs with a small JSON API."""

import json
import re
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from pipeline.errors import ConfigurationError, PurgeFailed, PurgeRefused
from pipeline.purge import Purge
from pipeline.settings import Settings

_PLACES = re.compile(r"\{(url|urls|path)\}")
_SAMPLE = "https://img.example.com/objects/sample.jpg"
_SUCCESS = range(200, 300)
# Of the client's errors those that speak of the moment and not of the request.
_BUSY = (408, 425, 429)
# A message that waits to be tried again is held by a worker: not for hours.
LONGEST_REST = 300.0


class HttpPurge(Purge):
    """Sends what the templates of the settings make of the addresses.

    ``{url}`` in the address of the request is the purged address, percent-encoded, and ``{path}``
    its path and query as they stand. In the body ``{urls}`` is a JSON array of the addresses and
    ``{url}`` a JSON string. Only ``{urls}`` takes many; with the others each address is a request.

    Args:
        settings: those that begin with ``cdn_purge_``.

    Raises:
        ConfigurationError: a template or a header cannot work.
    """

    def __init__(self, settings: Settings) -> None:
        self._method = settings.cdn_purge_method
        self._url = settings.cdn_purge_url
        self._body = settings.cdn_purge_body
        self._headers = _headers(settings.cdn_purge_headers.get_secret_value())
        self._timeout = settings.cdn_purge_timeout
        self._session = requests.Session()
        self._many = self._takes_many()
        self._check()

    def __call__(self, addresses: Sequence[str]) -> None:
        for request in self._requests(addresses):
            send(self._session, timeout=self._timeout, **request)

    def _requests(self, addresses: Sequence[str]) -> Iterator[dict[str, Any]]:
        groups = [addresses] if self._many else [[address] for address in addresses]
        for group in groups:
            yield {
                "method": self._method,
                "url": _fill(self._url, _in_address(group)),
                "data": _fill(self._body, _in_json(group)).encode() or None,
                "headers": self._headers,
            }

    def _takes_many(self) -> bool:
        in_url = set(_PLACES.findall(self._url))
        in_body = set(_PLACES.findall(self._body))
        if "urls" in in_url or "path" in in_body:
            raise ConfigurationError(
                "JUSTLENS_CDN_PURGE_URL takes {url} and {path}, JUSTLENS_CDN_PURGE_BODY takes "
                "{url} and {urls}"
            )
        if not in_url | in_body:
            raise ConfigurationError(
                "neither JUSTLENS_CDN_PURGE_URL nor JUSTLENS_CDN_PURGE_BODY says what is purged: "
                "one of them needs {url}, {path} or {urls}"
            )
        if "urls" in in_body and len(in_url | in_body) > 1:
            raise ConfigurationError(
                "JUSTLENS_CDN_PURGE_BODY takes many addresses by {urls}, and then nothing else in "
                "it or in JUSTLENS_CDN_PURGE_URL can stand for one"
            )
        return "urls" in in_body

    def _check(self) -> None:
        """Fill in the templates once, so that what cannot work is known before it is needed."""
        if not self._url.lower().startswith(("http://", "https://")):
            raise ConfigurationError("JUSTLENS_CDN_PURGE_URL must begin with http:// or https://")
        (request,) = self._requests([_SAMPLE])
        # What is wrong is not repeated: address and headers may hold a key.
        try:
            if self._body:
                json.loads(request["data"])
        except ValueError:
            raise ConfigurationError(
                "JUSTLENS_CDN_PURGE_BODY is not JSON once it is filled in; what works: "
                '{"files": {urls}}'
            ) from None
        try:
            self._session.prepare_request(requests.Request(**request))
        except (requests.RequestException, ValueError):
            raise ConfigurationError(
                "JUSTLENS_CDN_PURGE_URL and JUSTLENS_CDN_PURGE_HEADERS do not make an HTTP request"
            ) from None


def send(
    session: requests.Session, *, url: str, success: Container[int] = _SUCCESS, **request: Any
) -> None:
    """Send one request of a CDN's API.

    Args:
        success: statuses that mean that it was done.
        request: what ``requests.Session.request`` takes.

    Raises:
        PurgeFailed: no answer, or one of the server's errors; holds ``Retry-After``.
        PurgeRefused: any other answer.
    """
    parts = urlsplit(url)
    # The rest of the address and the library's own words may hold a key.
    place = f"{parts.scheme}://{parts.hostname}"
    try:
        answer = session.request(url=url, allow_redirects=False, **request)
    except requests.RequestException as error:
        raise PurgeFailed(f"{place} did not answer: {type(error).__name__}") from None
    if answer.status_code in success:
        return
    cause = f"{place} answered {answer.status_code}{_words(answer)}"
    if answer.status_code in _BUSY or answer.status_code >= 500:
        raise PurgeFailed(cause, _rest(answer.headers.get("Retry-After", "")))
    raise PurgeRefused(cause)


def _headers(text: str) -> Mapping[str, str]:
    try:
        headers = json.loads(text or "{}")
    except ValueError:
        headers = None
    texts = [*headers, *headers.values()] if isinstance(headers, dict) else [None]
    if not all(isinstance(text, str) and text.isascii() for text in texts):
        raise ConfigurationError(
            "JUSTLENS_CDN_PURGE_HEADERS must be a JSON object of ASCII texts: "
            '{"Authorization": "…"}'
        )
    return {"Content-Type": "application/json", **headers}


def _in_address(addresses: Sequence[str]) -> dict[str, str]:
    parts = urlsplit(addresses[0])
    path = parts.path or "/"
    return {
        "url": quote(addresses[0], safe=""),
        "path": f"{path}?{parts.query}" if parts.query else path,
    }


def _in_json(addresses: Sequence[str]) -> dict[str, str]:
    return {"url": json.dumps(addresses[0]), "urls": json.dumps(list(addresses))}


def _fill(template: str, values: Mapping[str, str]) -> str:
    return _PLACES.sub(lambda place: values[place[1]], template)


def _words(answer: requests.Response) -> str:
    """Title and detail of a problem document; nothing else, for errors can repeat credentials."""
    try:
        problem = answer.json()
    except ValueError:
        return ""
    if not isinstance(problem, dict):
        return ""
    words = [str(problem[name]) for name in ("title", "detail") if problem.get(name)]
    return f" ({': '.join(words)[:300]})" if words else ""


def _rest(header: str) -> float:
    """Seconds that ``Retry-After`` asks for, as a number or a date (RFC 9110, 10.2.3)."""
    try:
        seconds = (
            float(header)
            if header.isdecimal()
            else parsedate_to_datetime(header).timestamp() - time.time()
        )
    except ValueError:
        return 0.0
    return min(max(seconds, 0.0), LONGEST_REST)
