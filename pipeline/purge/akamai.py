"""Akamai's Fast Purge API, version 3 (techdocs.akamai.com/purge-cache/reference)."""

import configparser
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import requests
from akamai.edgegrid import EdgeGridAuth, EdgeRc

from pipeline.errors import ConfigurationError
from pipeline.purge import Purge
from pipeline.purge.http import send
from pipeline.settings import Settings

# Bytes of a request's body; the API answers 413 to more.
BODY_LIMIT = 50_000
ACCEPTED = (201,)


class AkamaiPurge(Purge):
    """Purges by URL, signed by EdgeGrid.

    Args:
        settings: those that begin with ``akamai_``. What is empty there is taken from the file and
            section that ``akamai_edgerc`` and ``akamai_section`` name.

    Raises:
        ConfigurationError: a credential is missing, or the file cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        known = _credentials(settings)
        host = known.pop("host").removeprefix("https://").rstrip("/")
        action, network = settings.akamai_action, settings.akamai_network
        self._url = f"https://{host}/ccu/v3/{action}/url/{network}"
        self._timeout = settings.cdn_purge_timeout
        self._session = requests.Session()
        self._session.auth = EdgeGridAuth(**known)

    def __call__(self, addresses: Sequence[str]) -> None:
        for body in bodies(addresses):
            send(
                self._session,
                method="POST",
                url=self._url,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=self._timeout,
                success=ACCEPTED,
            )


def bodies(addresses: Sequence[str], limit: int = BODY_LIMIT) -> Iterator[bytes]:
    """JSON bodies that hold all addresses, each of at most ``limit`` bytes.

    An address that is longer by itself goes alone: the API then says what it thinks of it.
    """
    objects: list[str] = []
    size = len(_body(objects))
    for address in addresses:
        longer = len(json.dumps(address)) + len(",")
        if objects and size + longer > limit:
            yield _body(objects)
            objects, size = [], len(_body([]))
        objects.append(address)
        size += longer
    if objects:
        yield _body(objects)


def _body(objects: Sequence[str]) -> bytes:
    return json.dumps({"objects": list(objects)}, separators=(",", ":")).encode()


def _credentials(settings: Settings) -> dict[str, str]:
    chosen = {
        "host": settings.akamai_host,
        "client_token": settings.akamai_client_token.get_secret_value(),
        "client_secret": settings.akamai_client_secret.get_secret_value(),
        "access_token": settings.akamai_access_token.get_secret_value(),
    }
    if settings.akamai_edgerc:
        kept = _section(settings.akamai_edgerc, settings.akamai_section)
        chosen = {name: value or kept.get(name, "") for name, value in chosen.items()}
    missing = [f"JUSTLENS_AKAMAI_{name.upper()}" for name, value in chosen.items() if not value]
    if missing:
        raise ConfigurationError(
            f"{', '.join(missing)}: not set, nor found in a file named by JUSTLENS_AKAMAI_EDGERC"
        )
    return chosen


def _section(file: str, section: str) -> dict[str, str]:
    path = Path(file).expanduser()
    try:
        edgerc = EdgeRc(str(path))
        if not path.is_file() or not edgerc.has_section(section):
            raise ConfigurationError(
                f"JUSTLENS_AKAMAI_EDGERC: {path} cannot be read or has no section [{section}], "
                "which JUSTLENS_AKAMAI_SECTION names"
            )
        return dict(edgerc.items(section, raw=True))
    except (configparser.Error, UnicodeDecodeError):
        # The parser's words repeat the line, which may be the secret.
        raise ConfigurationError(
            f"JUSTLENS_AKAMAI_EDGERC: {path} is not a file of sections with name = value"
        ) from None
