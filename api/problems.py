"""Errors as problem documents (RFC 9457), whatever went wrong and wherever."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from api.correlation import HEADER
from api.shields import HEADERS
from pipeline.errors import (
    BrokerUnavailable,
    ConfigurationError,
    InvalidMessage,
    JustLensError,
    ObjectMissing,
    PurgeFailed,
    PurgeRefused,
    StoreUnavailable,
    TooBusy,
    UndecodableImage,
    UnknownBusiness,
    UnknownImage,
)
from pipeline.logs import correlation_id

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
GENERIC = "about:blank"

# Seconds a client waits before it asks again for what was not available.
RETRY_AFTER = 5

STATUSES: Mapping[type[JustLensError], HTTPStatus] = {
    UnknownBusiness: HTTPStatus.NOT_FOUND,
    UnknownImage: HTTPStatus.NOT_FOUND,
    ObjectMissing: HTTPStatus.NOT_FOUND,
    InvalidMessage: HTTPStatus.UNPROCESSABLE_ENTITY,
    UndecodableImage: HTTPStatus.UNPROCESSABLE_ENTITY,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    BrokerUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    TooBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    PurgeFailed: HTTPStatus.SERVICE_UNAVAILABLE,
    PurgeRefused: HTTPStatus.SERVICE_UNAVAILABLE,
    ConfigurationError: HTTPStatus.SERVICE_UNAVAILABLE,
}

TITLES: Mapping[type[JustLensError], str] = {
    UnknownBusiness: "Unknown business",
    UnknownImage: "Unknown image",
    ObjectMissing: "No such object",
    InvalidMessage: "The message does not fit its contract",
    UndecodableImage: "Not an image that can be decoded",
    StoreUnavailable: "A store is not available",
    BrokerUnavailable: "The broker is not available",
    TooBusy: "Too much is asked for at once",
    PurgeFailed: "The CDN is not available",
    PurgeRefused: "The CDN refuses to purge",
    ConfigurationError: "The service is not set up right",
}


class FieldProblem(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="Where it is, for example `body.docids.0`.")
    detail: str


class Problem(BaseModel):
    """A problem document."""

    type: str = Field(description="Which kind of problem; `about:blank`: as its status says.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    errors: list[FieldProblem] = Field(default=[], description="The fields that do not fit.")


def problem_responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The part of OpenAPI that says which of a route's answers are problem documents."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status.value: {"description": status.phrase, "model": Problem, "content": content}
        for status in statuses
    }


UNREADABLE = problem_responses(HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
"""Of every route that takes a body: it cannot be read, or is too large."""


def problem(
    request: Request,
    status: HTTPStatus,
    detail: str,
    *,
    kind: str = GENERIC,
    title: str = "",
    errors: list[FieldProblem] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem document as a response."""
    document = Problem(
        type=kind,
        title=title or status.phrase,
        status=status.value,
        detail=detail,
        instance=request.url.path,
        errors=errors or [],
    )
    return JSONResponse(
        document.model_dump(exclude={"errors"} if not errors else None),
        status_code=status.value,
        media_type=MEDIA_TYPE,
        headers={**retry_after(status), **(headers or {})},
    )


def retry_after(status: HTTPStatus) -> dict[str, str]:
    """The header that says when to ask again, where asking again may help."""
    unavailable = status is HTTPStatus.SERVICE_UNAVAILABLE
    return {"Retry-After": str(RETRY_AFTER)} if unavailable else {}


def status_of(error: JustLensError) -> HTTPStatus:
    """The status that stands for an error of the pipeline."""
    known = (status for kind, status in STATUSES.items() if isinstance(error, kind))
    return next(known, HTTPStatus.INTERNAL_SERVER_ERROR)


def install(app: FastAPI) -> None:
    """Let every error of an application leave as a problem document."""
    app.add_exception_handler(JustLensError, pipeline_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(Exception, _unexpected)


async def pipeline_error(request: Request, error: Exception) -> JSONResponse:
    """An error of the pipeline as a response."""
    assert isinstance(error, JustLensError)
    kind = next((kind for kind in TITLES if isinstance(error, kind)), None)
    status = status_of(error)
    if kind is None:
        return await _unexpected(request, error)
    # Who is too busy has no time to say so in the log; the figures do.
    if status is HTTPStatus.SERVICE_UNAVAILABLE and not isinstance(error, TooBusy):
        log.error("%s %s: %s", request.method, request.url.path, error)
    return problem(
        request,
        status,
        str(error),
        kind=f"urn:justlens:problem:{TITLES[kind].lower().replace(' ', '-')}",
        title=TITLES[kind],
    )


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    own_words = error.detail if error.detail != status.phrase else ""
    return problem(
        request,
        status,
        own_words or f"{request.method} {request.url.path}: {status.description or status.phrase}",
        headers=error.headers,
    )


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [
        FieldProblem(field=".".join(str(part) for part in entry["loc"]), detail=entry["msg"])
        for entry in error.errors()
    ]
    return problem(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "; ".join(f"{entry.field}: {entry.detail}" for entry in errors),
        kind="urn:justlens:problem:invalid-request",
        title="The request does not fit its contract",
        errors=errors,
    )


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    number = correlation_id()
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"Something went wrong here; the log has the details under {number}.",
        # Starlette answers this outside of all that adds to other answers.
        headers={**HEADERS, HEADER: number},
    )
