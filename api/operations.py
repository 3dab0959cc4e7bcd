"""What operators look at: whether a process lives, whether it can serve, and its figures."""

import os
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import retry_after
from api.scrape import Scrape

# The answer to a page is due in 200 ms: the buckets are close around it.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 10.0)
LABELS = ("method", "route", "status")

REQUESTS = Counter("justlens_requests", "Requests answered.", LABELS)
SECONDS = Histogram("justlens_request_seconds", "Seconds to the end.", LABELS, buckets=BUCKETS)

# Queries are answered without these, with fewer means.
DISPENSABLE = ("vectors", "text_encoder")

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether the dependencies answer."""

    status: Literal["ready", "degraded", "missing"]
    checks: dict[str, str] = Field(description="Each dependency: `ok`, or what is wrong with it.")


@router.get("/health", summary="Whether the process lives")
async def health() -> Health:
    """Answers as long as the process does; looks at nothing else."""
    return Health()


@router.get(
    "/ready",
    summary="Whether the process can serve",
    responses={503: {"model": Readiness, "description": "A dependency is missing"}},
)
def ready(request: Request, response: Response) -> Readiness:
    """Says which dependency is missing, with 503 where nothing can be served without it."""
    found = readiness(request.app.state.services.checks(request.app.state.needs))
    if found.status == "missing":
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        response.headers.update(retry_after(HTTPStatus.SERVICE_UNAVAILABLE))
    return found


def readiness(troubles: Mapping[str, str]) -> Readiness:
    """What follows from what is wrong with each dependency; empty where it answers."""
    missing = {name for name, trouble in troubles.items() if trouble}
    return Readiness(
        status="missing" if missing - {*DISPENSABLE} else "degraded" if missing else "ready",
        checks={name: trouble or "ok" for name, trouble in troubles.items()},
    )


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
def metrics(request: Request) -> Response:
    """Requests and their latency by method, route template and status; store latency.

    Also what ``api.scrape`` asks its dependencies. Of several processes that share
    ``PROMETHEUS_MULTIPROC_DIR`` each answers for all.
    """
    registry: CollectorRegistry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    asked = Scrape(request.app.state.services, request.app.state.needs)
    text = generate_latest(registry) + generate_latest(asked)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class Metrics:
    """Counts and times requests by the template of their route, never by their path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, noting)
        finally:
            template = getattr(scope.get("route"), "path", "none")
            labels = (scope["method"], template, str(status))
            REQUESTS.labels(*labels).inc()
            SECONDS.labels(*labels).observe(time.perf_counter() - began)
