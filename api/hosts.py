"""Under which names the web applications answer.

A page of another site can let its own name lead to this machine (DNS rebinding), and its scripts
then ask from here, where nobody may need a key. The name is all that gives them away. An address in
numbers is nobody's name.
"""

from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from pipeline.settings import Settings

LOCAL = "localhost"


class Hosts:
    """Answers 421 to requests for a name that is not ours."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        inside = self._app
        if scope["type"] == "http":
            request = Request(scope)
            host = request.headers.get("host", "")
            if not is_ours(host, request.app.state.services.settings):
                inside = problems.problem(
                    request,
                    HTTPStatus.MISDIRECTED_REQUEST,
                    f"Nothing is served here under the name {host[:100]!r}: ask for localhost, or "
                    "name it in JUSTLENS_API_NAMES.",
                )
        await inside(scope, receive, send)


def is_ours(host: str, settings: Settings) -> bool:
    """Whether a request's ``Host`` may be answered; browsers always send one."""
    names = settings.names
    if not host or "*" in names or (not names and settings.open_to != "loopback"):
        return True
    try:
        parts = urlsplit(f"//{host}")
    except ValueError:
        return False
    name = (parts.hostname or "").rstrip(".")
    if name in {LOCAL, *names} or name.endswith(f".{LOCAL}"):
        return True
    return _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
