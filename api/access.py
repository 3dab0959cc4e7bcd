"""Who may ask for what: every route with the scopes that open it, and the door in front of them.

What is not in the table opens to administrators only.
"""

from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.visitors import Visitor, address_of
from pipeline import api_keys
from pipeline.errors import JustLensError

Needs = frozenset[api_keys.Scope] | None

ANYBODY: Needs = None
READERS: Needs = frozenset({api_keys.Scope.READ})
PRODUCERS: Needs = frozenset({api_keys.Scope.INGEST})
EITHER: Needs = frozenset({api_keys.Scope.READ, api_keys.Scope.INGEST})
ADMINISTRATORS: Needs = frozenset()

# A HEAD is asked for as its GET.
ROUTES: Mapping[str, Needs] = {
    "GET /health": ANYBODY,
    "GET /ready": ANYBODY,
    "GET /metrics": ADMINISTRATORS,
    "GET /openapi.json": ANYBODY,
    "GET /docs": ANYBODY,
    # What pages of other people show, without a key.
    "GET /objects/{key:path}": ANYBODY,
    "GET /pictures/{width}/{key:path}": ANYBODY,
    "POST /v1/push_to_queue": PRODUCERS,
    "POST /v1/images": PRODUCERS,
    "GET /v1/images/{docid}/{product_id}": EITHER,
    "DELETE /v1/images/{docid}/{product_id}": PRODUCERS,
    "GET /v1/businesses": EITHER,
    "PUT /v1/businesses/{docid}": PRODUCERS,
    "DELETE /v1/businesses/{docid}": PRODUCERS,
    "GET /v1/relevance/{docid}": READERS,
    "POST /v1/relevance": READERS,
    "GET /v1/suggest": EITHER,
    "POST /v1/events": READERS,
    "GET /v1/catalogue/{docid}/images": READERS,
    "POST /v1/catalogue/images": READERS,
    "GET /v1/alt_texts": EITHER,
    "PUT /v1/alt_texts/{docid}/{product_id}": PRODUCERS,
    "POST /v1/alt_texts/approve": PRODUCERS,
    "POST /v1/alt_texts/{docid}/{product_id}/approve": PRODUCERS,
    "GET /v1/dead_letters": ADMINISTRATORS,
    "GET /v1/dead_letters/{key:path}": ADMINISTRATORS,
    "POST /v1/dead_letters/replay": ADMINISTRATORS,
    "POST /v1/dead_letters/drop": ADMINISTRATORS,
    "DELETE /v1/dead_letters/{key:path}": ADMINISTRATORS,
    "GET /v1/operations": ADMINISTRATORS,
    # pages
    "GET /static/{path:path}": ANYBODY,
    "GET /sign-in": ANYBODY,
    "POST /sign-in": ANYBODY,
    "POST /sign-out": ANYBODY,
    "GET /": READERS,
    "GET /results": READERS,
    "GET /upload": PRODUCERS,
    "GET /alt-texts": PRODUCERS,
    "GET /operations": ADMINISTRATORS,
    "GET /operations/dead_letters/{key:path}": ADMINISTRATORS,
    "GET /retraining": ADMINISTRATORS,
}

_PATTERNS = [
    (method, compile_path(path)[0], needs)
    for route, needs in ROUTES.items()
    for method, path in [route.split(" ", 1)]
]
_SAFE = {"GET", "HEAD", "OPTIONS"}


@lru_cache(maxsize=4096)
def needs_of(method: str, path: str) -> Needs:
    """The scopes of which one opens a path; None: it is open to anybody."""
    method = "GET" if method == "HEAD" else method
    return next(
        (
            needs
            for its_method, pattern, needs in _PATTERNS
            if its_method == method and pattern.match(path)
        ),
        ADMINISTRATORS,
    )


class Door:
    """Lets a request in before any of its body is read, or answers why not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        inside = self._app
        if scope["type"] == "http":
            inside = await self._refusal(Request(scope)) or self._app
        await inside(scope, receive, send)

    async def _refusal(self, request: Request) -> Response | None:
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        needs = needs_of(request.method, path)
        services = request.app.state.services
        try:
            visitor = await services.visitors.who(request)
        except JustLensError as error:
            if needs is not None:
                return await problems.pipeline_error(request, error)
            visitor = Visitor(address_of(request))
        request.state.visitor = visitor
        if _is_forged(request, visitor, services.settings.origins):
            return problems.problem(
                request,
                HTTPStatus.FORBIDDEN,
                "Another site has sent this request: it changes nothing.",
            )
        if needs is None and request.method in _SAFE:
            return None
        if seconds := await services.rate_limits.seconds_to_wait(visitor):
            return problems.problem(
                request,
                HTTPStatus.TOO_MANY_REQUESTS,
                f"Too many requests: come again in {seconds} s.",
                headers={"Retry-After": str(seconds)},
            )
        if needs is None or visitor.may(needs):
            return None
        return _refused(request, visitor, needs)


def _refused(request: Request, visitor: Visitor, needs: frozenset[api_keys.Scope]) -> Response:
    wanted = " or ".join(sorted({*needs, api_keys.Scope.ADMIN}))
    if request.headers.get("sec-fetch-mode") == "navigate" and request.method == "GET":
        back = quote(f"{request.url.path}?{request.url.query}".rstrip("?"))
        return RedirectResponse(f"/sign-in?next={back}", HTTPStatus.SEE_OTHER)
    if visitor.key is not None:
        return problems.problem(
            request,
            HTTPStatus.FORBIDDEN,
            f"The key {visitor.key.key_id} does not open this: it needs the scope {wanted}.",
        )
    wrong = "This is no key that holds. " if visitor.is_unknown else ""
    return problems.problem(
        request,
        HTTPStatus.UNAUTHORIZED,
        f"{wrong}Send `Authorization: Bearer KEY` with a key of the scope {wanted}; "
        "`justlens keys make` makes one.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _is_forged(request: Request, visitor: Visitor, allowed: frozenset[str]) -> bool:
    """Whether a page of another site makes a browser change something here."""
    if request.method in _SAFE or (visitor.key and not visitor.by_cookie):
        return False
    if not visitor.by_cookie and request.headers.get("origin") in allowed:
        return False
    if site := request.headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    if origin := request.headers.get("origin"):
        return urlsplit(origin).netloc != request.headers.get("host")
    return visitor.by_cookie
