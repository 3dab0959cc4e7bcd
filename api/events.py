"""Feedback: which pictures visitors were shown, and which they clicked on."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.problems import UNREADABLE, problem_responses
from api.wiring import ServicesOf
from pipeline.feedback import Event

MOST_EVENTS = 500

router = APIRouter(prefix="/v1", tags=["feedback"])


class Batch(BaseModel):
    """What happened on one page or many."""

    model_config = ConfigDict(extra="forbid")

    events: Annotated[list[Event], Field(max_length=MOST_EVENTS)]


class Recorded(BaseModel):
    """What became of the events."""

    accepted: int = Field(description="How many were new; they are on the disk.")
    repeated: int = Field(description="How many have an id that came before.")


@router.post(
    "/events",
    status_code=HTTPStatus.ACCEPTED,
    summary="Record impressions and clicks",
    responses=UNREADABLE
    | problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)
def record(services: ServicesOf, batch: Batch) -> Recorded:
    """All of them or none, and safe to repeat: an event whose id is known changes nothing.

    E-mail addresses, telephone numbers and long numbers are taken out of queries.
    """
    accepted = services.stores.events.save(batch.events)
    return Recorded(accepted=accepted, repeated=len(batch.events) - accepted)
