"""Alt texts for the people who own them: read, written and approved."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from api.problems import UNREADABLE, problem_responses
from api.wiring import Services, ServicesOf
from pipeline.alt_pages import show_alt_text
from pipeline.alt_text import WORDS, broken_rules
from pipeline.errors import UnknownImage
from pipeline.messages import DocId, ProductId
from pipeline.records import AltSource, AltTag, CatalogueImage, ReviewState
from pipeline.stores.relational import AltPlace, AltTexts

NEEDS = ("documents", "directory")

MOST_LISTED = 200
MOST_APPROVED = 500
# Counting goes no further: it takes a few milliseconds for each ten thousand.
MOST_COUNTED = 10_000
# Far more than the rules allow, and little enough to be looked through at once.
LONGEST = 500

router = APIRouter(prefix="/v1/alt_texts", tags=["alt texts"])

UNAVAILABLE = problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
OF_ONE = UNAVAILABLE | problem_responses(HTTPStatus.NOT_FOUND)

Cursor = Annotated[
    str,
    StringConstraints(
        pattern=r"^((open|approved)/(manual|generated)/[A-Za-z0-9][A-Za-z0-9_\-.]{0,63}/\d{1,19})?$"
    ),
]
# A form sends the fields that were left empty, too.
NothingSaid = BeforeValidator(lambda value: value or None)


class AltText(BaseModel):
    """The alt text of one image, beside what one has to see to judge it."""

    docid: str
    product_id: int
    alttag: str
    score: float = Field(
        description="Cosine similarity of text and picture; 0: not measured, as of a person's."
    )
    source: AltSource
    review_state: ReviewState
    updated_at: float = Field(description="Unix time.")
    url: str = Field(description="Of the picture.")
    width: int = Field(description="Pixels; 0: not known yet.")
    height: int
    business_name: str
    problems: list[str] = Field(description="The rules it breaks, each as a sentence.")


class AltTextCounts(BaseModel):
    """How many there are; left out where they are more than are counted for a page."""

    open: int | None = None
    approved: int | None = None


class AltTextList(BaseModel):
    """Open ones first, among them those of people, then by business and image."""

    alt_texts: list[AltText]
    after: str = Field(description="Where the next page begins; empty: this is the last.")
    counts: AltTextCounts = Field(
        description=f"Of this business and source, in each state, up to {MOST_COUNTED}."
    )


class AltTextQuery(BaseModel):
    """Which alt texts are meant; nothing said: all."""

    model_config = ConfigDict(extra="forbid")

    state: Annotated[ReviewState | None, NothingSaid] = None
    docid: Annotated[DocId | None, NothingSaid] = None
    source: Annotated[AltSource | None, NothingSaid] = None
    limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 50
    after: Cursor = Field("", description="As the page before gave it.")


class AltTextEdit(BaseModel):
    """What a person writes."""

    model_config = ConfigDict(extra="forbid")

    alttag: Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST)]
    approve: bool = Field(True, description="Whether it has been reviewed with that.")


class ImageKey(BaseModel):
    """Which image."""

    model_config = ConfigDict(extra="forbid")

    docid: DocId
    product_id: ProductId


class ImagesToApprove(BaseModel):
    """Images whose alt texts are right."""

    model_config = ConfigDict(extra="forbid")

    images: Annotated[list[ImageKey], Field(min_length=1, max_length=MOST_APPROVED)]


class ApprovalCounts(BaseModel):
    """What became of alt texts that were to be approved."""

    approved: int
    refused: int = Field(description="They break a rule, or were changed meanwhile.")
    unknown: int = Field(description="The image has none, or is not there any more.")


@router.get(
    "",
    summary="Alt texts, those to be reviewed first",
    responses=UNAVAILABLE,
    response_model_exclude_none=True,
)
def alt_texts(services: ServicesOf, query: Annotated[AltTextQuery, Query()]) -> AltTextList:
    """A page of them, of at most ``limit``."""
    directory = services.stores.directory
    wanted = AltTexts(query.docid or "", query.state, query.source)
    found = directory.alt_texts(wanted, _place(query.after), query.limit)
    is_last = len(found) < query.limit
    return AltTextList(
        alt_texts=_with_images(services, found),
        after="" if is_last else _cursor(found[-1]),
        counts=AltTextCounts(**{state: _count(services, query, state) for state in ReviewState}),
    )


@router.put(
    "/{docid}/{product_id}",
    summary="Write the alt text of one image",
    responses=OF_ONE | UNREADABLE,
)
def write(
    services: ServicesOf,
    docid: Annotated[DocId, Path()],
    product_id: Annotated[ProductId, Path()],
    edit: AltTextEdit,
) -> AltText:
    """Pages show it at once, and no run replaces it; a new photo opens it for review again."""
    image = _image(services, docid, product_id)
    _refuse_broken(edit.alttag, _business_name(services, docid))
    services.stores.directory.save_alt_text(
        AltTag(
            docid=docid,
            product_id=product_id,
            alttag=edit.alttag,
            score=0.0,
            source=AltSource.MANUAL,
            review_state=ReviewState.APPROVED if edit.approve else ReviewState.OPEN,
            generation=image.generation,
        )
    )
    show_alt_text(services.stores, docid, product_id, image.generation)
    return _one(services, docid, product_id)


@router.post(
    "/approve", summary="Approve many alt texts as they are", responses=UNAVAILABLE | UNREADABLE
)
def approve_many(services: ServicesOf, chosen: ImagesToApprove) -> ApprovalCounts:
    """Those that break a rule stay as they are. An approved text stands until the photo changes."""
    keys = list(dict.fromkeys((one.docid, one.product_id) for one in chosen.images))
    stores = services.stores
    living = stores.documents.images_of(keys)
    known = [row for key, row in stores.directory.alt_texts_of(keys).items() if key in living]
    names = _business_names(services, known)
    fitting = [row for row in known if not broken_rules(row.alttag, names.get(row.docid, ""))]
    approved = stores.directory.approve_alt_texts(fitting)
    return ApprovalCounts(
        approved=approved, refused=len(known) - approved, unknown=len(keys) - len(known)
    )


@router.post(
    "/{docid}/{product_id}/approve",
    summary="Approve the alt text of one image as it is",
    responses=OF_ONE,
)
def approve(
    services: ServicesOf,
    docid: Annotated[DocId, Path()],
    product_id: Annotated[ProductId, Path()],
) -> AltText:
    """It stands, whoever wrote it, until the photo changes."""
    _image(services, docid, product_id)
    known = services.stores.directory.alt_text(docid, product_id)
    if known is None:
        raise UnknownImage(f"image {docid}/{product_id} has no alt text yet")
    _refuse_broken(known.alttag, _business_name(services, docid))
    services.stores.directory.approve_alt_texts([known])
    return _one(services, docid, product_id)


def _with_images(services: Services, rows: Sequence[AltTag]) -> list[AltText]:
    """Beside their images; a text whose image is gone is left out."""
    images = services.stores.documents.images_of([(row.docid, row.product_id) for row in rows])
    names = _business_names(services, rows)
    return [
        _entry(services, row, image, names.get(row.docid, ""))
        for row in rows
        if (image := images.get((row.docid, row.product_id)))
    ]


def _entry(services: Services, row: AltTag, image: CatalogueImage, business: str) -> AltText:
    return AltText(
        **row.model_dump(exclude={"generation"}),
        url=services.stores.objects.url(image.original_key) or image.url,
        width=image.width,
        height=image.height,
        business_name=business,
        problems=[WORDS[rule] for rule in broken_rules(row.alttag, business)],
    )


def _one(services: Services, docid: str, product_id: int) -> AltText:
    row = services.stores.directory.alt_text(docid, product_id)
    found = _with_images(services, [row] if row else [])
    if not found:
        raise UnknownImage(f"image {docid}/{product_id} has been deleted")
    return found[0]


def _image(services: Services, docid: str, product_id: int) -> CatalogueImage:
    image = services.stores.documents.images_of([(docid, product_id)]).get((docid, product_id))
    if image is None:
        raise UnknownImage(f"business {docid!r} has no image {product_id}")
    return image


def _business_names(services: Services, rows: Sequence[AltTag]) -> dict[str, str]:
    found = services.stores.documents.businesses(sorted({row.docid for row in rows}))
    return {docid: business.name for docid, business in found.items()}


def _business_name(services: Services, docid: str) -> str:
    business = services.stores.documents.businesses([docid]).get(docid)
    return business.name if business else ""


def _refuse_broken(text: str, business: str) -> None:
    broken = broken_rules(text, business)
    if broken:
        raise RequestValidationError(
            [{"loc": ("body", "alttag"), "msg": WORDS[rule], "type": rule} for rule in broken]
        )


def _count(services: Services, query: AltTextQuery, state: ReviewState) -> int | None:
    wanted = AltTexts(query.docid or "", state, query.source)
    count = services.stores.directory.count_alt_texts(wanted, MOST_COUNTED + 1)
    return count if count <= MOST_COUNTED else None


def _cursor(row: AltTag) -> str:
    return f"{row.review_state}/{row.source}/{row.docid}/{row.product_id}"


def _place(cursor: str) -> AltPlace | None:
    if not cursor:
        return None
    state, source, docid, product_id = cursor.split("/")
    return AltPlace(ReviewState(state), AltSource(source), docid, min(int(product_id), 2**63 - 1))
