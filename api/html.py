"""Pages for people: templates, their headers, and the styles and scripts beside them.

A page's template extends ``base.html``, which holds the header, the navigation and the footer, and
names its own styles and scripts in the block ``head``. Nothing inline is allowed, and nothing from
elsewhere but pictures.
"""

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from starlette.staticfiles import StaticFiles

from api.pictures import Smaller
from api.wiring import Services

HERE = Path(__file__).parent

TEMPLATES = Jinja2Templates(HERE / "templates")
TEMPLATES.env.trim_blocks = True
TEMPLATES.env.lstrip_blocks = True


def render(
    request: Request,
    services: Services,
    template: str,
    context: Mapping[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """A page, or a part of one, with the headers that all have.

    Its template finds the addresses of smaller versions of pictures in ``smaller``.
    """
    settings = services.settings
    pictures = settings.public_objects_url, settings.public_pictures_url
    return TEMPLATES.TemplateResponse(
        request,
        template,
        {"smaller": Smaller(*pictures), **context},
        status_code=status.value,
        headers={
            "Content-Security-Policy": _policy(*pictures, services.stores.objects.origin),
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
            **(headers or {}),
        },
    )


def static_files() -> StaticFiles:
    """Styles and scripts; looked for when they are asked for."""
    return _Revalidated(directory=HERE / "static", check_dir=False)


class _Revalidated(StaticFiles):
    """Files that a browser keeps and asks about: a new release shows at once."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _policy(*origins: str) -> str:
    """The Content-Security-Policy: nothing inline, nothing from elsewhere but pictures."""
    addresses = (urlsplit(address) for address in origins)
    pictures = "".join(f" {one.scheme}://{one.netloc}" for one in addresses if one.netloc)
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' blob:{pictures}",
            "font-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )
