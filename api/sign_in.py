"""The page on which people exchange a key for a cookie, where keys are demanded."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from api.html import render
from api.visitors import COOKIE, SESSION_SECONDS
from api.wiring import ServicesOf

router = APIRouter(include_in_schema=False)

LONGEST_KEY = 200
LONGEST_ADDRESS = 2000


@router.get("/sign-in", response_class=HTMLResponse)
def page(
    request: Request,
    services: ServicesOf,
    back: Annotated[str, Query(alias="next", max_length=LONGEST_ADDRESS)] = "/",
) -> HTMLResponse:
    """Asks for a key; whoever has signed in was sent here because theirs does not suffice."""
    return render(request, services, "sign_in.html", {"next": _own(back)})


@router.post("/sign-in", response_class=HTMLResponse)
async def sign_in(
    request: Request,
    services: ServicesOf,
    key: Annotated[str, Form(max_length=LONGEST_KEY)],
    back: Annotated[str, Form(alias="next", max_length=LONGEST_ADDRESS)] = "/",
) -> Response:
    """A cookie that stands for the key, and holds no longer than it."""
    found = await services.visitors.key(key.strip())
    if found is None:
        context = {"next": _own(back), "is_wrong": True}
        return render(request, services, "sign_in.html", context, HTTPStatus.UNAUTHORIZED)
    answer = RedirectResponse(_own(back), HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        COOKIE,
        services.visitors.session(found),
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/sign-out")
def sign_out() -> Response:
    """Forget the key."""
    answer = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _own(address: str) -> str:
    """An address of this site; anything else becomes its first page."""
    leads_away = not address.startswith("/") or address[1:2] in ("/", "\\")
    return "/" if leads_away or not address.isprintable() else address
