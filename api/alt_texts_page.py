"""The page on which the people who own the alt texts read, correct and approve them.

The server renders the list; a script saves what is written, over the API, and moves on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from api.alt_texts import LONGEST, MOST_COUNTED, AltTextList, AltTextQuery, alt_texts
from api.html import render
from api.problems import retry_after, status_of
from api.wiring import Services, ServicesOf
from pipeline.alt_text import MOST_CHARACTERS, WORDS
from pipeline.errors import JustLensError
from pipeline.records import Business

SHOWN = 50
# Businesses to choose from where a name fits several.
CHOICE = 8

State = Literal["open", "approved", "all"]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Review:
    """What the page shows.

    Attributes:
        business: what was typed: a docid, or a part of a name.
        docid: the business that it was read as; empty: all.
        choice: the businesses that it may mean, where it is not clear.
        page: the alt texts; none where they cannot be read.
        trouble: why.
    """

    state: State
    source: str
    business: str
    docid: str = ""
    choice: Sequence[Business] = field(default_factory=list)
    page: AltTextList | None = None
    trouble: str = ""

    def link(self, **changes: str) -> str:
        """The address of the page with some of the filter changed; it begins anew."""
        fields = {"state": self.state, "source": self.source, "docid": self.business} | changes
        if fields["state"] == "open":
            del fields["state"]
        said = {name: value for name, value in fields.items() if value}
        return "/alt-texts" + (f"?{urlencode(said)}" if said else "")


@router.get("/alt-texts", response_class=HTMLResponse)
def review(
    request: Request,
    services: ServicesOf,
    state: State = "open",
    docid: str = "",
    source: Literal["", "manual", "generated"] = "",
    after: str = "",
) -> HTMLResponse:
    """The whole page; its filter and its place in the list are in its address."""
    status = HTTPStatus.OK
    try:
        shown = _review(services, state, source, docid.strip(), after)
    except ValidationError:
        shown = Review(state, source, docid, trouble="There is no such place in the list.")
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    except JustLensError as error:
        shown, status = Review(state, source, docid, trouble=str(error)), status_of(error)
    context = {
        "review": shown,
        "rules": WORDS.values(),
        "most_characters": MOST_CHARACTERS,
        "longest": LONGEST,
        "most_counted": MOST_COUNTED,
    }
    return render(request, services, "alt_texts.html", context, status, retry_after(status))


def _review(services: Services, state: State, source: str, business: str, after: str) -> Review:
    docid, choice = _business(services, business)
    if business and not docid:
        return Review(state, source, business, choice=choice)
    wanted = AltTextQuery.model_validate(
        {
            "state": "" if state == "all" else state,
            "docid": docid,
            "source": source,
            "limit": SHOWN,
            "after": after,
        }
    )
    return Review(state, source, business, docid, page=alt_texts(services, wanted))


def _business(services: Services, text: str) -> tuple[str, list[Business]]:
    """The docid that is meant, or else the businesses that may be."""
    if not text:
        return "", []
    documents = services.stores.documents
    if text in documents.businesses([text]):
        return text, []
    found = documents.search_businesses(text, limit=CHOICE)
    return (found[0].docid, []) if len(found) == 1 else ("", found)
