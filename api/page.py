"""The result page for people: search, compare, and see why.

The server renders all of it, so that it reads without scripts; the modules in ``static/`` fetch
the part with the results anew and show, compare and explain pictures in place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from api.capture import Capture, CaptureOf
from api.html import TEMPLATES, render
from api.problems import retry_after, status_of
from api.wiring import Services, ServicesOf
from pipeline.alt_text import plainest
from pipeline.errors import JustLensError
from pipeline.queries import LONGEST_QUERY, fold
from pipeline.ranking import Picture
from pipeline.retraining.comparison import Question
from pipeline.serving import BusinessPictures, Page

BUSINESSES = 25
# Businesses whose names or categories fit come first among so many; a page reads no more.
WINDOW = 200

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Query(max_length=LONGEST_QUERY)]
Number = Annotated[int, Query(ge=1, le=WINDOW // BUSINESSES)]


@dataclass(frozen=True)
class Part:
    """A part of a score as the page shows it."""

    name: str
    meaning: str
    value: float
    weight: float
    cosine: float | None


PARTS: Mapping[str, tuple[str, str]] = {
    "image": ("The picture", "How much more it looks like this than like other things."),
    "description": ("Its description", "How much nearer it is to this than to other things."),
    "category_match": ("The describer's answer", "Whether it was judged to show this: 1 or 0."),
}


@dataclass(frozen=True)
class Results:
    """What the page shows for one search.

    Attributes:
        named: ids of the businesses that have the query in their name.
        more: whether another page of results follows.
    """

    query: str
    number: int
    page: Page
    named: frozenset[str]
    more: bool

    @property
    def groups(self) -> list[tuple[str, list[BusinessPictures]]]:
        """The businesses under headings; empty: the heading needs no showing."""
        if self.category:
            other = f"Not listed under {self.category}"
        else:
            other = "Their usual pictures" if self.is_compared else ""
        groups: dict[str, list[BusinessPictures]] = {"": [], other: []}
        for business in self.page.businesses:
            groups["" if self._fits(business) else other].append(business)
        return [(heading, group) for heading, group in groups.items() if group]

    def _fits(self, business: BusinessPictures) -> bool:
        if business.docid in self.named:
            return True
        return business.listed if self.category else business.fallback != "static"

    @property
    def is_compared(self) -> bool:
        """Whether a query that means no category was held against what pictures show."""
        return any(business.fallback == "description" for business in self.page.businesses)

    @property
    def category(self) -> str:
        """The category that the query was understood as."""
        return (self.page.resolution and self.page.resolution.category) or ""

    def link(self, number: int) -> str:
        """The address of another page of these results."""
        fields = {"query": self.query, "page": number if number > 1 else ""}
        return "/?" + urlencode({name: value for name, value in fields.items() if value})


@router.get("/", response_class=HTMLResponse)
async def whole(
    request: Request,
    services: ServicesOf,
    capture: CaptureOf,
    query: Text = "",
    page: Number = 1,
) -> HTMLResponse:
    """The page, with the results of the query that is in its address."""
    return await _render(request, services, capture, "page.html", query, page)


@router.get("/results", response_class=HTMLResponse)
async def part(
    request: Request,
    services: ServicesOf,
    capture: CaptureOf,
    query: Text = "",
    page: Number = 1,
) -> HTMLResponse:
    """The results alone, for a page that is open already."""
    return await _render(request, services, capture, "results.html", query, page)


async def _render(
    request: Request,
    services: Services,
    capture: Capture,
    template: str,
    query: str,
    number: int,
) -> HTMLResponse:
    def rendered() -> HTMLResponse:
        results = _results(services, query.strip(), number)
        # Further pages answer what was asked for before.
        if number == 1:
            capture(results.page.resolution)
        context = {"results": results, "query": query.strip(), "trouble": ""}
        return render(request, services, template, context)

    try:
        async with services.turns.turn():
            return await run_in_threadpool(rendered)
    except JustLensError as error:
        context = {"results": None, "query": query.strip(), "trouble": str(error)}
        status = status_of(error)
        return render(request, services, template, context, status, retry_after(status))


def _results(services: Services, query: str, number: int) -> Results:
    named, docids = _found(services, query)
    start = (number - 1) * BUSINESSES
    shown = tuple(docids[start : start + BUSINESSES])
    question = Question(shown, query=query, limit=services.settings.carousel_size)
    page = services.shadow.follow(question, lambda: services.serving.page(**question.options()))
    return Results(query, number, page, named, more=len(docids) > start + BUSINESSES)


def _found(services: Services, query: str) -> tuple[frozenset[str], list[str]]:
    """Businesses of that name, then those listed under the category, then all others.

    Returns:
        The ids of the first, and of all.
    """
    documents = services.stores.documents
    everyone = documents.search_businesses("", limit=WINDOW)
    if not query:
        return frozenset(), [business.docid for business in everyone]
    resolution = services.serving.resolver.resolve(query)
    category = fold(resolution.category or "")
    listed = services.stores.directory.categories([business.docid for business in everyone])
    under = [
        business
        for business in everyone
        if any(fold(own.name) == category for own in listed[business.docid])
    ]
    named = documents.search_businesses(query, limit=BUSINESSES)
    docids = dict.fromkeys(business.docid for business in (*named, *under, *everyone))
    return frozenset(business.docid for business in named), list(docids)


@dataclass(frozen=True)
class Slide:
    """A picture that a card can show, and where serving put it: its slot, and its place there."""

    picture: Picture
    slot: str
    position: int


def _slides(business: BusinessPictures, query: str) -> list[Slide]:
    """What a card can show: the picture that answers, then the carousel, each once."""
    first = [Slide(one, "dynamic" if query else "static", 1) for one in business.dynamic[:1]]
    others = [Slide(one, "carousel", place) for place, one in enumerate(business.carousel, 1)]
    slides: dict[int, Slide] = {}
    for slide in (*first, *others):
        slides.setdefault(slide.picture.product_id, slide)
    return list(slides.values())


def _parts(picture: Picture) -> list[Part]:
    """The parts of a picture's score, with their words and weights, in the order of PARTS."""
    why = picture.why
    return [
        Part(
            name=name,
            meaning=meaning,
            value=why.parts[part],
            weight=why.weights.get(part, 0.0),
            cosine=why.parts.get(f"{part}_cosine"),
        )
        for part, (name, meaning) in PARTS.items()
        if part in why.parts
    ]


def _alt(picture: Picture, business: BusinessPictures) -> str:
    return picture.alt or plainest(business.name)


def _share(value: float) -> str:
    """A share as a percentage that is never 100 before it is."""
    return f"{int(value * 100 + 1e-9) if value > 0.99 else round(value * 100)}\u202f%"


TEMPLATES.env.filters.update(slides=_slides, parts=_parts, alt=_alt, share=_share)
