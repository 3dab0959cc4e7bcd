"""The page on which people upload photos of a business and see them go through the stages."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from api.html import render
from api.wiring import ServicesOf
from pipeline.errors import JustLensError
from pipeline.imaging import FORMATS
from pipeline.queues import Stage

router = APIRouter(include_in_schema=False)

# What a stage is called while it is ahead or behind, and while it runs.
STAGES: Mapping[Stage, tuple[str, str]] = {
    Stage.ENHANCE: ("Enhance", "Enlarging and cleaning"),
    Stage.UPDATE: ("Save", "Saving"),
    Stage.TAG: ("Recognise", "Recognising what it shows"),
    Stage.DESCRIBE: ("Describe", "Describing"),
    Stage.SCORE: ("Score", "Scoring"),
    Stage.ALT_TEXT: ("Alt text", "Writing the alt text"),
}


@router.get("/upload", response_class=HTMLResponse)
def page(
    request: Request,
    services: ServicesOf,
    docid: Annotated[str, Query(max_length=64)] = "",
) -> HTMLResponse:
    """The page, for a business that is chosen already if its id is given."""
    try:
        business = services.stores.documents.businesses([docid]).get(docid) if docid else None
    except JustLensError:
        # The page is of use without: a business is chosen by name.
        business = None
    return render(
        request,
        services,
        "upload.html",
        {
            "business": business,
            "stages": STAGES,
            "formats": FORMATS,
            "most_bytes": services.settings.max_bytes,
        },
    )
