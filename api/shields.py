"""What every answer says to browsers, and which other sites may ask."""

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.correlation import HEADER, TAKEN_FROM
from pipeline.settings import Settings

# Of what is no page: nothing runs in it, whatever a browser takes it for.
NOTHING = "default-src 'none'; frame-ancestors 'none'; sandbox"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": NOTHING,
}


def _settings(scope: Scope) -> Settings:
    return scope["app"].state.services.settings


class SecurityHeaders:
    """Adds them to answers that do not say otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, adding if scope["type"] == "http" else send)


class Cors:
    """Lets scripts of the sites that a setting names ask, without cookies; by default none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._allowing: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer what a browser asks before it."""
        inside = self._app
        if scope["type"] == "http" and (origins := _settings(scope).origins):
            self._allowing = self._allowing or CORSMiddleware(
                self._app,
                allow_origins=sorted(origins),
                allow_methods=["GET", "POST", "PUT", "DELETE"],
                allow_headers=["Authorization", "Content-Type", *TAKEN_FROM],
                expose_headers=["Retry-After", HEADER],
            )
            inside = self._allowing
        await inside(scope, receive, send)
