"""The ingest API: photos and businesses come in, and their way can be followed."""

import time
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, HTTPException, Path, Query, UploadFile
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api import dead_letters, reference
from api.problems import UNREADABLE, problem_responses
from api.wiring import ServicesOf, application
from pipeline.bridge import job_from, start_of
from pipeline.errors import InvalidMessage, UnknownBusiness, UnknownImage
from pipeline.ingest import Receipt
from pipeline.messages import CatId, DocId, ImageType, ProductId
from pipeline.numbers import category_number, content_number
from pipeline.queues import Stage
from pipeline.records import Business, Category, Contract, ImageState, StageRecord

NEEDS = ("documents", "directory", "objects", "broker")
MOST_CATEGORIES = 200
LONGEST_NAME = 191

router = APIRouter(prefix="/v1", tags=["ingest"])


class PushData(BaseModel):
    """A queue and the message for it."""

    model_config = ConfigDict(extra="forbid")

    queue_name: Annotated[str, Field(examples=["image_jobs"])]
    message: dict[str, Any] = Field(
        description="An image job: docid, product_id, product_url...",
        examples=[
            {"docid": "shop-1", "product_id": 7, "product_url": "https://shop.example/7.jpg"}
        ],
    )


class Push(BaseModel):
    """What producers post, in the form that they have always used."""

    model_config = ConfigDict(extra="forbid")

    data: PushData


class ListedCategory(BaseModel):
    """A category that a business is listed under."""

    model_config = ConfigDict(extra="forbid")

    catid: Annotated[
        CatId | None, Field(description="None: the number that its name stands for.")
    ] = None
    name: Annotated[str, Field(max_length=LONGEST_NAME, pattern=r"\S")]
    is_hot: bool = Field(False, description="The one that the business is best known for.")


class BusinessEntry(BaseModel):
    """A business as the directory has it."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=500, pattern=r"\S")]
    contract: Contract = Contract()
    categories: Annotated[list[ListedCategory], Field(max_length=MOST_CATEGORIES)] = []

    @model_validator(mode="after")
    def _numbered(self) -> "BusinessEntry":
        for category in self.categories:
            category.catid = category.catid or category_number(category.name)
        return self

    @model_validator(mode="after")
    def _each_once(self) -> "BusinessEntry":
        if len({category.catid for category in self.categories}) < len(self.categories):
            raise ValueError("a category is listed twice")
        return self


class SavedBusiness(BusinessEntry):
    """A business as it was saved."""

    docid: str


class FoundBusiness(BaseModel):
    """A business by its name."""

    docid: str
    name: str
    categories: list[str] = Field(description="Names, what it is best known for first.")


class FoundBusinesses(BaseModel):
    """Businesses whose names hold what was asked for."""

    businesses: list[FoundBusiness]


class StageStatus(BaseModel):
    """How a stage ended for an image."""

    stage: Stage
    outcome: str = Field(description="done, unchanged or failed; empty: it has not ended yet.")
    ended_at: float | None = Field(description="Unix time.")
    seconds: float | None
    detail: str


class ImageStatus(BaseModel):
    """Where an image is on its way."""

    docid: str
    product_id: int
    generation: int
    state: ImageState
    stage: Stage = Field(description="That runs or is waited for.")
    failure: str = Field(description="Why it is parked; empty: it is not.")
    correlation_id: str
    accepted_at: float = Field(description="Unix time.")
    moved_at: float = Field(description="Unix time of the last step.")
    waited: float = Field(description="Seconds since the last step.")
    stages: list[StageStatus]


class Forgotten(BaseModel):
    """How much was removed; what two images share stays with the other one."""

    images: int = 0
    objects: int = Field(0, description="Originals and enhanced versions.")
    facts: int = Field(0, description="What was found in the pixels.")
    vectors: int = 0
    alt_texts: int = 0
    dead_letters: int = 0
    categories: int = Field(0, description="That the business was listed under.")
    businesses: int = 0


UNAVAILABLE = problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)


@router.post(
    "/push_to_queue",
    status_code=HTTPStatus.ACCEPTED,
    summary="An image job for a queue",
    responses=UNAVAILABLE | UNREADABLE,
)
def push_to_queue(services: ServicesOf, push: Push) -> Receipt:
    """The image enters the graph at the stage whose queue is named; `image_jobs`: at the first."""
    try:
        start = start_of(push.data.queue_name)
    except InvalidMessage as error:
        raise InvalidMessage(f"queue_name: {error}") from error
    return services.intake.accept_job(job_from(push.data.message), start=start)


@router.post(
    "/images",
    status_code=HTTPStatus.ACCEPTED,
    summary="A photo's bytes",
    responses=UNAVAILABLE | UNREADABLE,
)
def upload(
    services: ServicesOf,
    docid: Annotated[DocId, Form()],
    file: Annotated[UploadFile, File()],
    product_id: Annotated[
        ProductId | None, Form(description="None: the number that the file's bytes stand for.")
    ] = None,
    image_type: Annotated[ImageType, Form()] = "general",
    force: Annotated[bool, Form(description="Enhance even what is large enough.")] = False,
) -> Receipt:
    """Stores the photo and sends it on its way; the same photo again is no new work."""
    limit = services.settings.max_bytes
    if (file.size or 0) > limit:
        raise HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the file has {file.size} bytes, the limit is {limit}",
        )
    content = file.file.read()
    if not content:
        raise InvalidMessage("file: it is empty")
    return services.intake.accept_bytes(
        docid,
        product_id or content_number(content),
        content,
        name=file.filename or "",
        image_type=image_type,
        force=force,
    )


@router.get(
    "/images/{docid}/{product_id}",
    summary="Where an image is on its way",
    responses=UNAVAILABLE | problem_responses(HTTPStatus.NOT_FOUND),
)
def status(
    services: ServicesOf,
    docid: Annotated[DocId, Path()],
    product_id: Annotated[ProductId, Path()],
) -> ImageStatus:
    """Its state, the stages with their times, and the failure, if it is parked."""
    documents = services.stores.documents
    image = documents.image(docid, product_id)
    if image is None:
        raise UnknownImage(f"the business {docid!r} has no image {product_id}")
    metadata = documents.metadata([(docid, product_id)]).get((docid, product_id))
    ended = metadata.stages if metadata and metadata.generation == image.generation else {}
    return ImageStatus(
        **image.model_dump(include=ImageStatus.model_fields.keys() - {"waited", "stages"}),
        waited=max(0.0, time.time() - image.moved_at),
        stages=[_stage(stage, ended.get(stage.value)) for stage in Stage],
    )


def _stage(stage: Stage, record: StageRecord | None) -> StageStatus:
    return StageStatus(
        stage=stage,
        outcome=record.outcome if record else "",
        ended_at=record.ended_at if record else None,
        seconds=record.seconds if record else None,
        detail=record.detail if record else "",
    )


@router.delete(
    "/images/{docid}/{product_id}",
    summary="Forget an image",
    responses=UNAVAILABLE | problem_responses(HTTPStatus.NOT_FOUND),
)
def forget_image(
    services: ServicesOf,
    docid: Annotated[DocId, Path()],
    product_id: Annotated[ProductId, Path()],
) -> Forgotten:
    """It is shown no more from now on, what is in flight stops, and all that was kept of it goes.

    Safe to repeat, which ends what a call that was cut off has left.
    """
    counts = services.forgetting.image(docid, product_id)
    if not counts.total() and services.stores.documents.image(docid, product_id) is None:
        raise UnknownImage(f"the business {docid!r} has no image {product_id}")
    return Forgotten(**counts)


@router.get("/businesses", summary="Businesses by name", responses=UNAVAILABLE)
def find_businesses(
    services: ServicesOf,
    q: Annotated[str, Query(max_length=LONGEST_NAME, description="A part of the name.")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 8,
) -> FoundBusinesses:
    """Those whose names hold it, whatever the case, in the order of their ids."""
    found = services.stores.documents.search_businesses(q.strip(), limit)
    categories = services.stores.directory.categories([business.docid for business in found])
    return FoundBusinesses(
        businesses=[
            FoundBusiness(
                docid=business.docid,
                name=business.name,
                categories=[category.name for category in categories.get(business.docid, [])],
            )
            for business in found
        ]
    )


@router.put(
    "/businesses/{docid}",
    summary="Record a business and its categories",
    responses=UNAVAILABLE | UNREADABLE,
)
def save_business(
    services: ServicesOf,
    docid: Annotated[DocId, Path()],
    entry: BusinessEntry,
) -> SavedBusiness:
    """Inserts or replaces it, its contract and the list of its categories."""
    services.intake.save_business(
        Business(docid=docid, name=entry.name, contract=entry.contract),
        [Category(**category.model_dump()) for category in entry.categories],
    )
    return SavedBusiness(docid=docid, **entry.model_dump())


@router.delete(
    "/businesses/{docid}",
    summary="Forget a business and all of its images",
    responses=UNAVAILABLE | problem_responses(HTTPStatus.NOT_FOUND),
)
def forget_business(services: ServicesOf, docid: Annotated[DocId, Path()]) -> Forgotten:
    """Its images one after another, then the business; safe to repeat until it is through."""
    counts = services.forgetting.business(docid)
    if not counts.total():
        raise UnknownBusiness(f"no business {docid!r}")
    return Forgotten(**counts)


app = application(
    "JustLens ingest",
    "Photos and businesses come in, and their way can be followed.",
    [router, dead_letters.router, reference.router],
    NEEDS,
)
