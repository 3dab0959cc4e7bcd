"""Smaller versions of stored pictures, for pages that show them small; put a CDN in front."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from api.problems import problem_responses
from api.wiring import ServicesOf
from pipeline.errors import InvalidMessage
from pipeline.smaller import CONTENT_TYPE, WIDTHS
from pipeline.stores.objects import CACHE_CONTROL, KEY, check_public_key

router = APIRouter(tags=["pictures"])

SIZES = ", ".join(str(width) for width in WIDTHS)


@dataclass(frozen=True)
class Smaller:
    """Addresses of smaller versions of pictures that pages know by their own address.

    Attributes:
        objects: prefix of the addresses of objects.
        pictures: prefix of the addresses of smaller versions.
    """

    objects: str
    pictures: str

    def address(self, url: str, width: int) -> str:
        """Of the version of a width; the picture's own, where it is not one of ours."""
        key = url.removeprefix(f"{self.objects.rstrip('/')}/")
        if key == url or not KEY.fullmatch(key):
            return url
        return f"{self.pictures.rstrip('/')}/{width}/{key}"

    def srcset(self, url: str, width: int) -> str:
        """All versions of a picture that is so many pixels wide; empty: it is not one of ours."""
        if self.address(url, WIDTHS[0]) == url:
            return ""
        smaller = [one for one in WIDTHS if not width or one < width]
        largest = [one for one in WIDTHS if width and one >= width][:1]
        return ", ".join(
            f"{self.address(url, one)} {min(one, width or one)}w" for one in (*smaller, *largest)
        )


@router.get(
    "/pictures/{width}/{key:path}",
    summary="A smaller version of an original or an enhanced version",
    response_class=Response,
    responses={
        HTTPStatus.OK.value: {"content": {CONTENT_TYPE: {}}, "description": "A picture"},
        HTTPStatus.NOT_MODIFIED.value: {"description": "As the one that is named"},
        **problem_responses(
            HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
        ),
    },
)
@router.head("/pictures/{width}/{key:path}", include_in_schema=False)
async def picture(
    services: ServicesOf,
    width: Annotated[int, Path(description=f"Pixels, one of {SIZES}. Nothing is enlarged.")],
    key: str,
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """The picture under a content-addressed name, so many pixels wide: it never changes."""
    if width not in WIDTHS:
        raise InvalidMessage(f"width: one of {SIZES}, not {width}")
    check_public_key(key)
    tag = f'"{key.rpartition("/")[2]}-{width}"'
    headers = {"Cache-Control": CACHE_CONTROL, "ETag": tag, "X-Content-Type-Options": "nosniff"}
    if tag in if_none_match and await services.smaller_versions.exists(key):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    content = await services.smaller_versions.get(key, width)
    return Response(content, media_type=CONTENT_TYPE, headers=headers)
