"""The operations view for people: what waits, what failed and why, how fast it goes, what is away.

The server renders all of it. A script asks for the page anew every few seconds and puts in place
what has changed; it also sends dead letters again or drops them, over the API.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from api.dead_letters import Cause, Which, causes, found
from api.html import TEMPLATES, render
from api.overview import Overview, QueueFigures, StageFigures, overview
from api.problems import status_of
from api.wiring import Services, ServicesOf
from pipeline.errors import JustLensError
from pipeline.failures import treatment
from pipeline.queues import JOBS, QUEUES, RETRAINING, Stage, queue_of
from pipeline.records import DeadLetter

SHOWN = 25
MOST_SHOWN = 500

TITLES: Mapping[str, str] = {
    Stage.ENHANCE.value: "Enhance",
    Stage.UPDATE.value: "Write back",
    Stage.TAG.value: "Tag",
    Stage.DESCRIBE.value: "Describe",
    Stage.SCORE.value: "Score",
    Stage.ALT_TEXT.value: "Alt text",
    JOBS: "Jobs of producers",
    RETRAINING: "Retraining",
}

DEPENDENCIES: Mapping[str, str] = {
    "broker": "Broker",
    "documents": "Documents",
    "directory": "Categories and alt texts",
    "objects": "Photos",
    "vectors": "Embeddings",
    "text_encoder": "Text model",
}

AGES: Sequence[tuple[int, str]] = (
    (0, "Any time"),
    (3600, "An hour ago"),
    (86400, "A day ago"),
    (7 * 86400, "A week ago"),
)

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Row:
    """What the page shows of a queue; what is not known is none."""

    queue: str
    waiting: QueueFigures | None
    stage: StageFigures | None
    letters: int | None
    workers: int | None


@dataclass(frozen=True)
class Letters:
    """The dead letters that fit a filter.

    Attributes:
        count: how many fit, whether they are shown or not.
        trouble: why they cannot be read.
    """

    which: Which
    shown: Sequence[DeadLetter]
    count: int = 0
    trouble: str = ""

    def link(self, **changes: object) -> str:
        """The address of the page with some of the filter changed; none: left out."""
        fields = self.which.model_dump(exclude_defaults=True) | changes
        return "/operations?" + urlencode({name: value for name, value in fields.items() if value})


@router.get("/operations", response_class=HTMLResponse)
async def operations(
    request: Request,
    services: ServicesOf,
    queue: str = "",
    exception: str = "",
    docid: str = "",
    newer_than: Annotated[float, Query(ge=0)] = 0,
    older_than: Annotated[float, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_SHOWN)] = SHOWN,
) -> HTMLResponse:
    """The whole page; the filter of the dead letters is in its address."""
    which = Which(
        queue=queue or None,
        exception=exception or None,
        docid=docid or None,
        newer_than=newer_than,
        older_than=older_than,
        limit=limit,
    )
    figures = await overview(services, request.app.state.needs)
    parked = figures.images.dead_letters if figures.images else []
    context = {
        "figures": figures,
        "rows": _rows(figures),
        "letters": await run_in_threadpool(_letters, services, which),
        "causes": parked,
        "queues": list(dict.fromkeys([*QUEUES, *(cause.queue for cause in parked)])),
        "exceptions": sorted({cause.exception for cause in parked} | ({exception} - {""})),
        "ages": AGES,
    }
    return render(request, services, "operations.html", context)


@router.get("/operations/dead_letters/{key:path}", response_class=HTMLResponse)
def dead_letter(request: Request, services: ServicesOf, key: str) -> HTMLResponse:
    """One of them, with arguments and traceback."""
    try:
        letter = services.stores.documents.dead_letter(key)
    except JustLensError as error:
        raise HTTPException(status_of(error), str(error)) from error
    status = HTTPStatus.NOT_FOUND if letter is None else HTTPStatus.OK
    context = {"letter": letter, "key": key}
    return render(request, services, "dead_letter.html", context, status)


def _rows(figures: Overview) -> list[Row]:
    waiting = {one.queue: one for one in figures.broker.queues} if figures.broker else {}
    stages = {one.stage.value: one for one in figures.images.stages} if figures.images else {}
    return [
        Row(
            queue=queue,
            waiting=waiting.get(queue),
            stage=stages.get(queue),
            letters=_count(figures.images.dead_letters, queue) if figures.images else None,
            workers=_serving(figures, queue),
        )
        for queue in QUEUES
    ]


def _serving(figures: Overview, queue: str) -> int | None:
    """How many workers take from a queue, in whichever lane."""
    if figures.workers is None:
        return None
    return sum(queue in {queue_of(name)[0] for name in one.queues} for one in figures.workers)


def _letters(services: Services, which: Which) -> Letters:
    try:
        shown = found(services, which)
        fitting = causes(services.stores.documents, which)
    except JustLensError as error:
        return Letters(which, [], trouble=str(error))
    return Letters(which, shown, sum(cause.count for cause in fitting))


def _count(parked: Sequence[Cause], queue: str) -> int:
    return sum(cause.count for cause in parked if cause.queue == queue)


def _title(queue: str) -> str:
    return TITLES.get(queue, queue)


def _about(letter: DeadLetter) -> str:
    """What a dead letter is about, in a few words."""
    if letter.docid and letter.product_id is not None:
        return f"{letter.docid} / {letter.product_id}"
    return "A message that names no image"


def _duration(seconds: float | None) -> str:
    """Seconds in a form that takes few characters."""
    if seconds is None:
        return "\u2013"
    if seconds < 1:
        return f"{seconds * 1000:.0f}\u202fms"
    if seconds < 60:
        return f"{seconds:.1f}\u202fs"
    return f"{seconds / 60:.1f}\u202fmin"


def _number(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


def _indented(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


TEMPLATES.env.filters.update(
    queue_title=_title,
    dependency=lambda name: DEPENDENCIES.get(name, name),
    advice=lambda letter: treatment(letter.exception).advice,
    about=_about,
    duration=_duration,
    thousands=_number,
    moment=_moment,
    indented=_indented,
)
