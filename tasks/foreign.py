"""Messages on our queues that are no tasks of ours: they enter the graph, or are parked.

The consumer hands them on as they came, as the argument of a task that never travels: it is run for
the message at hand and acknowledges it when it ends.
"""

import base64
import json
import logging
import uuid
from typing import Any

from celery.exceptions import TaskPredicate
from kombu.message import Message

from pipeline.bridge import job_from, start_of
from pipeline.dead_letters import letter_as_it_came
from pipeline.errors import InvalidMessage
from pipeline.graph import Sender
from pipeline.ingest import Intake
from pipeline.queues import Lane
from tasks.outage import outlast
from tasks.parking import ParkingTask, park_letter
from tasks.runtime import runtime

log = logging.getLogger(__name__)

NAME = "foreign"
# A message without a content type is taken for JSON.
JSON_TYPES = ("", "application/json", "application/data")


def as_task(message: Message, queue: str, lane: Lane, problem: str) -> Message:
    """A message for the task below in place of one that is not a task.

    It has the other's delivery tag, so that with it the other is acknowledged or given back.

    Args:
        problem: what is wrong with the message; empty: it is plain and may be an image job.
    """
    body = message.body
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body or b"")
    # Of its own, for a producer may have sent one message many times.
    task_id = uuid.uuid4().hex
    foreign = {
        "queue": queue,
        "lane": int(lane),
        "problem": problem,
        "content_type": str(message.content_type or ""),
        "headers": json.loads(json.dumps(message.headers, default=repr, skipkeys=True)),
        "body": base64.b64encode(raw).decode(),
    }
    return Message(
        body=json.dumps([[foreign], {}, None]),
        delivery_tag=message.delivery_tag,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_info=message.delivery_info,
        headers={"task": NAME, "id": task_id, "root_id": task_id, "argsrepr": queue},
        properties={},
        channel=message.channel,
        accept={"application/json"},
    )


class Foreign(ParkingTask):
    """One such message."""

    name = NAME

    def run(self, foreign: dict[str, Any]) -> dict[str, Any]:
        """Returns what became of it."""
        raw = base64.b64decode(foreign["body"])
        try:
            receipt = self._enter(foreign, raw)
        except TaskPredicate:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a message: parked, not swallowed
            self._park(foreign, raw, error)
            return {"outcome": "parked", "detail": str(error)}
        return {"outcome": "entered", "detail": receipt}

    def _enter(self, foreign: dict[str, Any], raw: bytes) -> str:
        if foreign["problem"]:
            raise InvalidMessage(foreign["problem"])
        if foreign["content_type"] not in JSON_TYPES:
            raise InvalidMessage(f"the content type is {foreign['content_type']!r}, not JSON")
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise InvalidMessage(f"the body does not decode: {error}") from error
        start, job = start_of(foreign["queue"]), job_from(body)
        here = runtime()
        intake = Intake(here.stores, here.settings, Sender(self.app))
        receipt = outlast(lambda: intake.accept_job(job, start=start, lane=Lane(foreign["lane"])))
        return f"{receipt.docid}/{receipt.product_id}"

    def _park(self, foreign: dict[str, Any], raw: bytes, error: Exception) -> None:
        log.warning("a message in %s is parked: %s", foreign["queue"], error)
        letter = letter_as_it_came(
            queue=foreign["queue"],
            task_id=self.request.id,
            error=error,
            raw=raw,
            headers=foreign["headers"] or {},
            content_type=foreign["content_type"],
        )
        park_letter(self.app, letter, ends_image=False)
