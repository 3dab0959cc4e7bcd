"""Dead letters: what was parked, and what an operator does about it."""

import time
from http import HTTPStatus
from typing import Annotated, Self

from fastapi import APIRouter, HTTPException, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.problems import UNREADABLE, problem_responses
from api.wiring import Services, ServicesOf
from pipeline.failures import treatment
from pipeline.records import DeadLetter
from pipeline.replay import Outcome
from pipeline.stores.documents import DocumentStore, WantedLetters

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
    newer_than: Annotated[
        float, Field(ge=0, description="At most so many seconds since it was last parked; 0: any.")
    ] = 0
    older_than: Annotated[
        float, Field(ge=0, description="More than so many seconds since it was last parked.")
    ] = 0
    limit: Annotated[int, Field(ge=1, le=MOST)] = 100

    def wanted(self) -> WantedLetters:
        """The same as the document store takes it."""
        now = time.time()
        return {
            "queue": self.queue,
            "docid": self.docid,
            "exception": self.exception,
            "after": now - self.newer_than if self.newer_than else None,
            "before": now - self.older_than if self.older_than else None,
        }


class Chosen(Which):
    """Which dead letters are meant: those named, or those that fit."""

    keys: Annotated[list[str] | None, Field(max_length=MOST)] = None


class Doomed(Chosen):
    """As ``Chosen``, but something has to be said: what is dropped does not come back."""

    @model_validator(mode="after")
    def _is_chosen(self) -> Self:
        if not self.model_fields_set - {"limit"}:
            raise ValueError("say which: keys, queue, exception, docid, newer_than or older_than")
        return self


class Cause(BaseModel):
    """How many dead letters have one cause."""

    queue: str
    exception: str
    count: int
    advice: str = Field(description="What an operator does about it.")


class DeadLetters(BaseModel):
    """Dead letters, newest first, and how many there are by their causes."""

    causes: list[Cause]
    letters: list[DeadLetter]


class Dropped(BaseModel):
    """How many dead letters there were and are no more."""

    dropped: int


class ReplayedLetter(BaseModel):
    """What became of a dead letter that was to be sent again."""

    key: str
    outcome: Outcome
    detail: str


@router.get("", summary="What is parked", responses=UNAVAILABLE)
def dead_letters(services: ServicesOf, which: Annotated[Which, Query()]) -> DeadLetters:
    """Newest first; the counts are of all that fit, whatever the limit."""
    return DeadLetters(
        causes=causes(services.stores.documents, which), letters=found(services, which)
    )


@router.get("/{key:path}", summary="One of them", responses=UNAVAILABLE | NOT_FOUND)
def dead_letter(services: ServicesOf, key: Key) -> DeadLetter:
    """With arguments and traceback."""
    return _one(services, key)


@router.post("/replay", summary="Send some of them again", responses=UNAVAILABLE | UNREADABLE)
def replay(services: ServicesOf, chosen: Chosen) -> list[ReplayedLetter]:
    """An image's graph goes on from the stage that failed; safe to repeat.

    An entry goes when the broker has confirmed the new message.
    """
    return [
        ReplayedLetter(key=one.key, outcome=one.outcome, detail=one.detail)
        for one in services.replayer.replay(_chosen(services, chosen))
    ]


@router.post("/drop", summary="Forget some of them", responses=UNAVAILABLE | UNREADABLE)
def drop_some(services: ServicesOf, chosen: Doomed) -> Dropped:
    """Their records and their messages; the images stay as they are."""
    return Dropped(dropped=services.replayer.drop(_chosen(services, chosen)))


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


def causes(documents: DocumentStore, which: Which) -> list[Cause]:
    """How many fit by queue and exception, most first."""
    counts = documents.count_dead_letters(**which.wanted())
    return [
        Cause(
            queue=queue,
            exception=exception,
            count=count,
            advice=treatment(exception).advice,
        )
        for (queue, exception), count in sorted(counts.items(), key=lambda cause: -cause[1])
    ]


def found(services: Services, which: Which) -> list[DeadLetter]:
    """Those that fit, newest first."""
    return services.stores.documents.dead_letters(which.limit, **which.wanted())


def _chosen(services: Services, chosen: Chosen) -> list[DeadLetter]:
    if chosen.keys is None:
        return found(services, chosen)
    letters = [services.stores.documents.dead_letter(key) for key in chosen.keys]
    return [letter for letter in letters if letter is not None]


def _one(services: Services, key: str) -> DeadLetter:
    letter = services.stores.documents.dead_letter(key)
    if letter is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"nothing is parked under {key!r}")
    return letter
