"""The catalogue API: which images of a business are valid and why the others are not."""

import time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from api import alt_texts, pictures
from api.problems import problem_responses
from api.wiring import ServicesOf, application
from pipeline.catalogue import WORDS, Reason, invalid_reasons
from pipeline.errors import ObjectMissing, UnknownBusiness
from pipeline.messages import DocId
from pipeline.records import CatalogueImage, Flags, ImageMetadata, ImageState
from pipeline.stores.objects import CACHE_CONTROL, ObjectStore, check_key, content_type_of

NEEDS = ("documents", "objects")

router = APIRouter(tags=["catalogue"])


class InvalidReason(BaseModel):
    """Why an image is not shown."""

    code: Reason
    detail: str


class CatalogueEntry(BaseModel):
    """One image of a business and whether it may be shown."""

    product_id: int
    valid: bool
    reasons: list[InvalidReason] = Field(description="Why it is not valid; empty: it is.")
    state: ImageState
    url: str
    enhanced_url: str = Field(description="Empty: there is no enhanced version.")
    width: int = Field(description="Pixels; 0: not known yet.")
    height: int
    size: int = Field(description="Bytes; 0: not known yet.")
    alt: str
    description: str
    quality: float | None = Field(description="0..100; null: not known yet.")
    flags: Flags
    measures: dict[str, float | None] = Field(
        description="What the flags were decided on; null: the backend cannot know."
    )


class CatalogueImages(BaseModel):
    """The images of a business."""

    docid: str
    name: str
    valid: int = Field(description="How many of all its images are valid.")
    invalid: int
    images: list[CatalogueEntry]


@router.get(
    "/v1/catalogue/{docid}/images",
    summary="Which images of a business are valid",
    responses=problem_responses(
        HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
    ),
)
def images(
    services: ServicesOf,
    docid: Annotated[DocId, Path()],
    valid: Annotated[bool | None, Query(description="Only valid ones, or only others.")] = None,
) -> CatalogueImages:
    """All images of a business but deleted ones, each with the reasons why it is not shown."""
    documents = services.stores.documents
    business = documents.businesses([docid]).get(docid)
    if business is None:
        raise UnknownBusiness(f"the directory has no business {docid!r}")
    rows = documents.images([docid])
    known = documents.metadata([(row.docid, row.product_id) for row in rows])
    now = time.time()
    entries = []
    for row in rows:
        metadata = known.get((row.docid, row.product_id))
        reasons = invalid_reasons(row, metadata, business.contract, now)
        entries.append(_entry(row, metadata, reasons, services.stores.objects))
    shown = sum(entry.valid for entry in entries)
    return CatalogueImages(
        docid=docid,
        name=business.name,
        valid=shown,
        invalid=len(entries) - shown,
        images=[entry for entry in entries if valid is None or entry.valid == valid],
    )


def _entry(
    row: CatalogueImage, metadata: ImageMetadata | None, reasons: list[str], objects: ObjectStore
) -> CatalogueEntry:
    known = metadata or ImageMetadata(docid=row.docid, product_id=row.product_id, generation=0)
    enhanced = known.enhancement.key if known.enhancement else ""
    return CatalogueEntry(
        product_id=row.product_id,
        valid=not reasons,
        reasons=[
            InvalidReason(code=Reason(reason), detail=WORDS[Reason(reason)]) for reason in reasons
        ],
        state=row.state,
        url=objects.url(row.original_key) or row.url,
        enhanced_url=objects.url(enhanced) if enhanced != row.original_key else "",
        width=row.width,
        height=row.height,
        size=row.size,
        alt=known.alt_text,
        description=known.description,
        quality=known.quality,
        flags=known.flags,
        measures=known.measures,
    )


@router.get(
    "/objects/{key:path}",
    summary="An original or an enhanced version",
    response_class=Response,
    responses={
        **problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
        HTTPStatus.TEMPORARY_REDIRECT.value: {"description": "The object store serves it itself"},
    },
)
@router.head("/objects/{key:path}", include_in_schema=False)
def stored_object(
    request: Request,
    services: ServicesOf,
    key: str,
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """The bytes under a content-addressed name: what lies there never changes.

    S3 serves them itself, under an address that is signed here and holds for some days.
    """
    try:
        check_key(key)
    except ValueError as error:
        raise ObjectMissing(f"no object {key}") from error
    if direct := services.stores.objects.direct_url(key, request.method):
        # The signature can end before any time named here does: the keys of a role change.
        return RedirectResponse(direct, headers={"Cache-Control": "no-cache"})
    tag = f'"{key.rpartition("/")[2]}"'
    headers = {"Cache-Control": CACHE_CONTROL, "ETag": tag, "X-Content-Type-Options": "nosniff"}
    if tag in if_none_match and services.stores.objects.exists(key):
        return Response(status_code=304, headers=headers)
    content = services.stores.objects.get(key)
    return Response(content, media_type=content_type_of(key), headers=headers)


app = application(
    "JustLens catalogue",
    "Which images of a business are valid and why the others are not, alt texts, and the objects.",
    [router, alt_texts.router, pictures.router],
    sorted({*NEEDS, *alt_texts.NEEDS}),
)
