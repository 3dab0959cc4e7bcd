"""The ranking API: which pictures of a business answer a category or a query, and why."""

from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from api import events, reference
from api.capture import CaptureOf
from api.problems import UNREADABLE, problem_responses
from api.turns import TURN
from api.wiring import ServicesOf, application
from pipeline.messages import CatId, DocId
from pipeline.queries import LONGEST_QUERY, Resolution
from pipeline.retraining.comparison import Question
from pipeline.serving import LIMIT, BusinessPictures, Page

NEEDS = ("documents", "directory", "vectors", "text_encoder")
MOST_BUSINESSES = 100

router = APIRouter(prefix="/v1", tags=["relevance"])

Limit = Annotated[int, Field(ge=1, le=100, description="Most pictures in `dynamic`.")]
Text = Annotated[str, Field(max_length=LONGEST_QUERY)]


class Wanted(BaseModel):
    """What pictures are asked for; nothing: those for each business's hot category."""

    model_config = ConfigDict(extra="forbid")

    category: Text = Field("", description="The name of a category.")
    catid: CatId | None = Field(None, description="The id of a category.")
    query: Text = Field("", description="Free text, as a person types it.")
    limit: Limit = LIMIT

    @model_validator(mode="after")
    def _one_of(self) -> "Wanted":
        if sum((bool(self.category.strip()), self.catid is not None, bool(self.query.strip()))) > 1:
            raise ValueError("only one of category, catid and query can be asked for")
        return self


class PageRequest(Wanted):
    """A page of businesses."""

    docids: Annotated[list[DocId], Field(min_length=1, max_length=MOST_BUSINESSES)]


@dataclass(slots=True)
class OneBusiness(BusinessPictures):
    """The pictures of one business, and how they came about."""

    resolution: Annotated[
        Resolution | None, Field(description="How the query was understood, if any.")
    ]
    degraded: Annotated[
        list[str], Field(description="What could not be had; the answer does without it.")
    ]


_PAGE = TypeAdapter(Page)
_OF_BUSINESS = [field.name for field in fields(BusinessPictures)]


class Suggestions(BaseModel):
    """Categories for what has been typed so far."""

    query: str
    suggestions: list[str]


@router.get(
    "/relevance/{docid}",
    summary="The pictures of one business",
    dependencies=[TURN],
    responses=problem_responses(
        HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
    ),
)
def of_business(
    services: ServicesOf,
    capture: CaptureOf,
    docid: Annotated[DocId, Path()],
    wanted: Annotated[Wanted, Query()],
) -> OneBusiness:
    """The static and dynamic pictures of one business, its carousel, what is enhanced."""
    question = Question((docid,), **wanted.model_dump())
    page = services.shadow.follow(
        question, lambda: services.serving.business(docid, **wanted.model_dump())
    )
    capture(page.resolution)
    (business,) = page.businesses
    own = {name: getattr(business, name) for name in _OF_BUSINESS}
    return OneBusiness(**own, resolution=page.resolution, degraded=page.degraded)


@router.post(
    "/relevance",
    summary="The pictures of a page of businesses",
    response_model=Page,
    dependencies=[TURN],
    responses=UNREADABLE
    | problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)
def of_page(services: ServicesOf, capture: CaptureOf, page: PageRequest) -> Response:
    """Up to 100 businesses in the order asked for; ids that are not known are listed apart."""
    question = Question(tuple(page.docids), **page.model_dump(exclude={"docids"}))
    answer = services.shadow.follow(question, lambda: services.serving.page(**question.options()))
    capture(answer.resolution)
    return written(answer)


def written(page: Page) -> Response:
    """A page as a response.

    In the thread that made it: FastAPI would hand it to another one for a check, and write it where
    all other requests wait meanwhile.
    """
    return Response(_PAGE.dump_json(page, by_alias=True), media_type="application/json")


@router.get(
    "/suggest",
    summary="Categories for what has been typed so far",
    responses=problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)
def suggest(
    services: ServicesOf,
    q: Annotated[str, Query(max_length=LONGEST_QUERY)] = "",
    limit: Annotated[int, Query(ge=1, le=25)] = 8,
) -> Suggestions:
    """Names that begin with it, hold it, or are spelt much like it."""
    return Suggestions(query=q, suggestions=services.serving.resolver.suggest(q, limit))


app = application(
    "JustLens relevancy",
    "Which pictures of a business answer a category or a query, and why.",
    [router, events.router, reference.router],
    NEEDS,
)
