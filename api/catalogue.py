"""The catalogue API: which images of a business are valid and why the others are not."""

import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from api import alt_texts, pictures, reference
from api.problems import UNREADABLE, problem_responses
from api.wiring import Services, ServicesOf, application
from pipeline.catalogue import Reason, contract_reasons, image_findings, in_words
from pipeline.errors import UnknownBusiness
from pipeline.looks import Looks
from pipeline.messages import DocId, ProductId
from pipeline.records import (
    Business,
    CatalogueImage,
    Flags,
    ImageMetadata,
    ImageState,
)
from pipeline.stores.objects import CACHE_CONTROL, check_public_key, content_type_of

NEEDS = ("documents", "objects")
MOST_BUSINESSES = 100
MOST_IMAGES = 1000

router = APIRouter(tags=["catalogue"])


class Finding(BaseModel):
    """What was found about an image."""

    code: Reason
    detail: str
    duplicate_of: int | None = Field(description="The image that it looks the same as.")


class CatalogueEntry(BaseModel):
    """One image of a business and whether it may be shown."""

    product_id: int
    valid: bool
    reasons: list[Finding] = Field(description="Why it is not valid; empty: it is.")
    notes: list[Finding] = Field(description="What the rules in force do not mind.")
    state: ImageState
    failure: str = Field(description="Why it was parked; empty: it was not.")
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


class BusinessImages(BaseModel):
    """Images of a business, by product_id."""

    docid: str
    name: str
    valid: int = Field(description="How many of the images that were looked at are valid.")
    invalid: int
    images: list[CatalogueEntry]


class CatalogueImages(BusinessImages):
    """Images of one business, and where the next ones begin."""

    after: int | None = Field(description="Look on behind this product_id; null: these were all.")


class ImageKey(BaseModel):
    """An image of a business."""

    docid: DocId
    product_id: ProductId


class ManyCatalogueImages(BaseModel):
    """Images of several businesses, by docid, and where the next ones begin."""

    businesses: list[BusinessImages] = Field(
        description="Each as far as it was looked at; those not come to yet are left out."
    )
    unknown: list[str] = Field(description="Ids that the directory does not know.")
    after: ImageKey | None = Field(description="Look on behind this image; null: these were all.")


class Looked(BaseModel):
    """Which images are looked at, and which of them are listed."""

    model_config = ConfigDict(extra="forbid")

    valid: bool | None = Field(None, description="List only valid ones, or only the others.")
    deleted: bool = Field(False, description="Look at images that were deleted, too.")
    limit: Annotated[
        int, Field(ge=1, le=MOST_IMAGES, description="How many images to look at.")
    ] = MOST_IMAGES


class LookedOfOne(Looked):
    """Which images of one business."""

    after: Annotated[int, Field(ge=0, le=2**63 - 1)] = Field(
        0, description="Look at those behind this product_id."
    )


class LookedOfMany(Looked):
    """Which images of several businesses."""

    docids: Annotated[list[DocId], Field(min_length=1, max_length=MOST_BUSINESSES)]
    after: ImageKey | None = Field(None, description="Look at those behind this image.")


@router.get(
    "/v1/catalogue/{docid}/images",
    summary="Which images of a business are valid",
    responses=problem_responses(
        HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
    ),
)
def images(
    services: ServicesOf, docid: Annotated[DocId, Path()], looked: Annotated[LookedOfOne, Query()]
) -> CatalogueImages:
    """Each with the reasons why it is not shown, by the rules in force."""
    business = services.stores.documents.businesses([docid]).get(docid)
    if business is None:
        raise UnknownBusiness(f"the directory has no business {docid!r}")
    rows = _rows(services, [docid], looked, (docid, looked.after))
    (found,) = _businesses(services, {docid: business}, rows, looked.valid) or [_none(business)]
    after = rows[-1].product_id if len(rows) == looked.limit else None
    return CatalogueImages(**dict(found), after=after)


@router.post(
    "/v1/catalogue/images",
    summary="Which images of several businesses are valid",
    responses=UNREADABLE
    | problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)
def images_of_many(services: ServicesOf, looked: LookedOfMany) -> ManyCatalogueImages:
    """The same for up to 100 businesses, in a few reads however many they are."""
    asked = list(dict.fromkeys(looked.docids))
    known = services.stores.documents.businesses(asked)
    after = (looked.after.docid, looked.after.product_id) if looked.after else None
    rows = _rows(services, list(known), looked, after)
    last = rows[-1] if len(rows) == looked.limit else None
    return ManyCatalogueImages(
        businesses=_businesses(services, known, rows, looked.valid),
        unknown=[docid for docid in asked if docid not in known],
        after=ImageKey(docid=last.docid, product_id=last.product_id) if last else None,
    )


def _rows(
    services: Services, docids: Sequence[str], looked: Looked, after: tuple[str, int] | None
) -> list[CatalogueImage]:
    return services.stores.documents.images(
        docids, after=after, limit=looked.limit, deleted=looked.deleted
    )


def _businesses(
    services: Services,
    known: Mapping[str, Business],
    rows: Sequence[CatalogueImage],
    valid: bool | None,
) -> list[BusinessImages]:
    """What is to be said of the images, by their businesses, in the order of the rows."""
    documents, rules = services.stores.documents, services.settings.rules
    metadata = documents.metadata([(row.docid, row.product_id) for row in rows])
    twins = _twins(services, list(dict.fromkeys(row.docid for row in rows)))
    now = time.time()
    found: dict[str, list[CatalogueEntry]] = {}
    for row in rows:
        key = row.docid, row.product_id
        own = metadata.get(key)
        findings = [
            *contract_reasons(known[row.docid].contract, now),
            *image_findings(row, own, rules),
            *([Reason.DUPLICATE] if key in twins else []),
        ]
        entry = _entry(row, own, findings, twins.get(key), services)
        found.setdefault(row.docid, []).append(entry)
    return [
        BusinessImages(
            docid=docid,
            name=known[docid].name,
            valid=(shown := sum(entry.valid for entry in entries)),
            invalid=len(entries) - shown,
            images=[entry for entry in entries if valid is None or entry.valid == valid],
        )
        for docid, entries in found.items()
    ]


def _none(business: Business) -> BusinessImages:
    return BusinessImages(docid=business.docid, name=business.name, valid=0, invalid=0, images=[])


def _twins(services: Services, docids: Sequence[str]) -> dict[tuple[str, int], int]:
    """Of images that look the same all but the best, each with the product_id of that one.

    Best is what has the higher quality, then the older id. What is hidden for another reason is
    neither: another image must not be missed for its sake.
    """
    chosen = services.settings
    page = services.stores.documents.page(dict.fromkeys(docids, ()))
    ordered = {
        docid: sorted(
            (image for image in found.images if not chosen.rules.hides(image.findings.split())),
            key=lambda image: (-image.quality, image.product_id),
        )
        for docid, found in page.items()
    }
    twins = Looks([[image.looks for image in images] for images in ordered.values()]).twins(
        chosen.duplicate_bits, chosen.duplicate_likely_bits, chosen.duplicate_cosine
    )
    return {
        (docid, images[place].product_id): images[better].product_id
        for (docid, images), found in zip(ordered.items(), twins, strict=True)
        for place, better in found.items()
    }


def _entry(
    row: CatalogueImage,
    metadata: ImageMetadata | None,
    findings: Sequence[Reason],
    better: int | None,
    services: Services,
) -> CatalogueEntry:
    known = metadata or ImageMetadata(docid=row.docid, product_id=row.product_id, generation=0)
    objects, rules = services.stores.objects, services.settings.rules
    enhanced = known.enhancement.key if known.enhancement else ""
    told = [
        Finding(
            code=reason,
            detail=in_words(reason, rules),
            duplicate_of=better if reason is Reason.DUPLICATE else None,
        )
        for reason in findings
    ]
    reasons = [finding for finding in told if rules.hides([finding.code])]
    return CatalogueEntry(
        product_id=row.product_id,
        valid=not reasons,
        reasons=reasons,
        notes=[finding for finding in told if finding not in reasons],
        state=row.state,
        failure=row.failure,
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
        HTTPStatus.NOT_MODIFIED.value: {"description": "As the one that is named"},
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
    check_public_key(key)
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
    [router, alt_texts.router, pictures.router, reference.router],
    sorted({*NEEDS, *alt_texts.NEEDS}),
)
