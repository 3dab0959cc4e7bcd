"""How much a request may send: a body is refused while it comes, not once it is in memory.

FastAPI's own ``max_body_size`` is fixed when an application is made, before settings are read, and
its 413 is plain text.
"""

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 2_000_000
"""Of a body that is no file: it is read into memory."""

BESIDE_A_FILE = 100_000
"""Bytes of an upload's other fields, and of what parts them."""


class BodyLimit:
    """Answers 413 to a body that is, or says that it will be, too large."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count its bytes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        most = MOST_BYTES
        if headers.get("content-type", "").startswith("multipart/form-data"):
            most = scope["app"].state.services.settings.max_bytes + BESIDE_A_FILE
        announced = headers.get("content-length", "")
        read = int(announced) if announced.isdecimal() and int(announced) > most else 0

        async def counted() -> Message:
            nonlocal read
            message = await receive() if read <= most else {}
            read += len(message.get("body", b""))
            if read > most:
                raise HTTPException(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"the request has more than {most} bytes, which is the limit here",
                )
            return message

        await self._app(scope, counted, send)
