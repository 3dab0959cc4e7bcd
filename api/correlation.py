"""The id under which a request is followed: through the log, its messages and all stages."""

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.logs import work_at
from pipeline.messages import CORRELATION_ID, new_correlation_id

HEADER = "X-Correlation-ID"
# In this order; the second is what proxies write.
TAKEN_FROM = (HEADER, "X-Request-ID")


class Correlation:
    """Takes the id that the client names, or makes one, and tells it in the answer.

    One that would not fit into a message is not taken.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = [Headers(scope=scope).get(name, "") for name in TAKEN_FROM]
        fitting = (value for value in given if re.fullmatch(CORRELATION_ID, value))
        correlation_id = next(fitting, None) or new_correlation_id()
        # To the end of the request, which has a context of its own: an error that nobody foresaw is
        # answered outside of here.
        work_at({"correlation_id": correlation_id})

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = correlation_id
            await send(message)

        await self._app(scope, receive, telling)
