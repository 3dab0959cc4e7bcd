"""Dead letters: what was parked, and what an operator does about it."""

import time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.problems import problem_responses
from api.wiring import ServicesOf
from pipeline.records import DeadLetter
from pipeline.replay import Outcome

MOST = 1000

router = APIRouter(prefix="/v1/dead_letters", tags=["dead letters"])

Key = Annotated[str, Path(max_length=300, description="As the list gives it.")]
UNAVAILABLE = problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
NOT_FOUND = problem_responses(HTTPStatus.NOT_FOUND)


class Which(BaseModel):
    """Which dead letters are meant; nothing said: all."""

    model_config = ConfigDict(extra="forbid")

    queue: str | None = None
    exception: str | None = None
    docid: str | None = None
    older_than: Annotated[float, Field(ge=0, description="Seconds since it was last parked.")] = 0
    limit: Annotated[int, Field(ge=1, le=MOST)] = 100


class Chosen(Which):
    """Which dead letters are meant: those named, or those that fit."""

    keys: Annotated[list[str], Field(max_length=MOST)] = []


class Cause(BaseModel):
    """How many dead letters have one cause."""

    queue: str
    exception: str
    count: int


class DeadLetters(BaseModel):
    """Dead letters, newest first, and how many there are by their causes."""

    causes: list[Cause]
    letters: list[DeadLetter]


class ReplayedLetter(BaseModel):
    """What became of a dead letter that was to be sent again."""

    key: str
    outcome: Outcome
    detail: str


@router.get("", summary="What is parked", responses=UNAVAILABLE)
def dead_letters(services: ServicesOf, which: Annotated[Which, Query()]) -> DeadLetters:
    """Newest first; the counts are of all there are."""
    counts = services.stores.documents.count_dead_letters()
    return DeadLetters(
        causes=[
            Cause(queue=queue, exception=exception, count=count)
            for (queue, exception), count in sorted(counts.items(), key=lambda cause: -cause[1])
        ],
        letters=_found(services, which),
    )


@router.get("/{key:path}", summary="One of them", responses=UNAVAILABLE | NOT_FOUND)
def dead_letter(services: ServicesOf, key: Key) -> DeadLetter:
    """With arguments and traceback."""
    return _one(services, key)


@router.post("/replay", summary="Send some of them again", responses=UNAVAILABLE)
def replay(services: ServicesOf, chosen: Chosen) -> list[ReplayedLetter]:
    """An image's graph goes on from the stage that failed; safe to repeat.

    An entry goes when the broker has confirmed the new message.
    """
    found = [services.stores.documents.dead_letter(key) for key in chosen.keys]
    letters = [letter for letter in found if letter] if chosen.keys else _found(services, chosen)
    return [
        ReplayedLetter(key=one.key, outcome=one.outcome, detail=one.detail)
        for one in services.replayer.replay(letters)
    ]


@router.delete(
    "/{key:path}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Forget one of them",
    responses=UNAVAILABLE | NOT_FOUND,
)
def drop(services: ServicesOf, key: Key) -> Response:
    """The record and its message; the image stays as it is."""
    services.replayer.drop([_one(services, key)])
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _found(services: ServicesOf, which: Which) -> list[DeadLetter]:
    return services.stores.documents.dead_letters(
        which.queue,
        which.docid,
        which.limit,
        exception=which.exception,
        before=time.time() - which.older_than if which.older_than else None,
    )


def _one(services: ServicesOf, key: str) -> DeadLetter:
    letter = services.stores.documents.dead_letter(key)
    if letter is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"nothing is parked under {key!r}")
    return letter
