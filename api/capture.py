"""Queries that people send are kept for retraining, off the request's path."""

from typing import Annotated

from fastapi import Depends, Header, Request

from api.visitors import Visitor, is_loopback
from api.wiring import Services, ServicesOf
from pipeline.queries import Resolution

LONGEST_NAME = 200


class Capture:
    """Keeps the query of one request.

    Args:
        services: of the application.
        sender: what tells the visitor from others; empty: nothing does.
    """

    def __init__(self, services: Services, sender: str) -> None:
        self._log = services.query_log
        self._sender = sender

    def __call__(self, resolution: Resolution | None) -> None:
        """Keep a query that was resolved, if there was one and queries are kept."""
        if self._log is not None and resolution is not None:
            self._log.add(resolution, self._sender)


async def capture(
    request: Request,
    services: ServicesOf,
    x_visitor: Annotated[
        str,
        Header(
            max_length=LONGEST_NAME,
            description="From a server that asks for its visitors: the same for one of them, such "
            "as a hash of the session. Kept as a hash that nobody can make again.",
        ),
    ] = "",
) -> Capture:
    """What keeps the query of a request."""
    return Capture(services, sender_of(request.state.visitor, x_visitor))


def sender_of(visitor: Visitor, named: str) -> str:
    """What tells the person behind a request from others; empty: nothing does.

    A server that asks for its visitors comes with a key, or from this machine. All of them would
    have its address, and look like one that never sleeps: only it can tell them apart. Of anybody
    else a name counts for nothing, or a program would take another one for each query.
    """
    asks_for_others = (visitor.key is not None and not visitor.by_cookie) or is_loopback(
        visitor.address
    )
    return named if asks_for_others else visitor.address


CaptureOf = Annotated[Capture, Depends(capture)]
