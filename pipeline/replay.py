"""Replaying what was parked: an image's graph from the stage that failed, or the message itself."""

import base64
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.dead_letters import Withdraw, drop_letters
from pipeline.errors import InvalidMessage
from pipeline.ingest import Intake
from pipeline.queues import Stage
from pipeline.records import DeadLetter
from pipeline.stores.documents import DocumentStore

Outcome = Literal["sent", "superseded", "refused"]

Publish = Callable[[str, bytes, dict[str, Any]], None]
"""Publishes a body with its properties to a queue; raises unless the broker took it."""


@dataclass(frozen=True)
class Replayed:
    """What became of one dead letter.

    Attributes:
        outcome: sent again; superseded by a newer photo or a deletion, and dropped; or refused, and
            kept.
    """

    key: str
    outcome: Outcome
    detail: str = ""


class Replayer:
    """Sends again what was parked.

    An entry goes when the broker has confirmed the new message, first the message in the error
    queue, then the record, by which it is found. A kill in between, or two replays at once, sends
    the image's graph once more, and its stages find their work done.

    Args:
        documents: where the records are.
        intake: how images are sent again.
        publish: how other messages are sent again.
        withdraw: how messages leave an error queue.
    """

    def __init__(
        self, documents: DocumentStore, intake: Intake, publish: Publish, withdraw: Withdraw
    ) -> None:
        self._documents = documents
        self._intake = intake
        self._publish = publish
        self._withdraw = withdraw

    def replay(self, letters: Iterable[DeadLetter]) -> list[Replayed]:
        """Send each of them again, unless somebody else has dealt with it meanwhile.

        Raises:
            BrokerUnavailable, StoreUnavailable: those before are sent; the rest is as it was.
        """
        letters = {letter.key: letter for letter in letters}.values()
        sent = []
        try:
            for letter in letters:
                if self._documents.dead_letter(letter.key) is not None:
                    sent.append(self._send(letter))
        finally:
            keys = {one.key for one in sent if one.outcome != "refused"}
            self.drop(letter for letter in letters if letter.key in keys)
        return sent

    def drop(self, letters: Iterable[DeadLetter]) -> int:
        """Forget them; returns how many records there were."""
        return drop_letters(self._documents, self._withdraw, letters)

    def _send(self, letter: DeadLetter) -> Replayed:
        try:
            if _is_foreign(letter):
                self._publish(letter.queue, *_message(letter))
            elif letter.product_id is not None and letter.generation is not None:
                return self._send_image(letter, letter.product_id, letter.generation)
            else:
                self._publish(letter.queue, *_task(letter))
        except InvalidMessage as error:
            return Replayed(letter.key, "refused", str(error))
        return Replayed(letter.key, "sent", letter.queue)

    def _send_image(self, letter: DeadLetter, product_id: int, generation: int) -> Replayed:
        if self._intake.replay(letter.docid, product_id, generation, Stage(letter.queue)):
            return Replayed(letter.key, "sent", f"{letter.docid}/{product_id} from {letter.queue}")
        return Replayed(letter.key, "superseded", "a newer photo or a deletion took its place")


def _is_foreign(letter: DeadLetter) -> bool:
    """Whether a message was parked as it came, because it is no task that could be run."""
    return isinstance(letter.kwargs, dict) and bool(letter.kwargs.keys() & {"headers", "cut_off"})


def _message(letter: DeadLetter) -> tuple[bytes, dict[str, Any]]:
    """The message that was parked as it came, by its record."""
    known = letter.kwargs
    if "cut_off" in known:
        raise InvalidMessage(f"the record holds only {known['cut_off']}")
    (text,) = letter.args
    scheme, colon, coded = text.partition("base64:")
    body = base64.b64decode(coded) if colon and not scheme else text.encode()
    return body, known


def _task(letter: DeadLetter) -> tuple[bytes, dict[str, Any]]:
    """A message in Celery's form for a task that is about no image, by its record."""
    task_id = uuid.uuid4().hex
    headers = {"lang": "py", "task": letter.task, "id": task_id, "root_id": task_id, "retries": 0}
    body = json.dumps([letter.args or [], letter.kwargs or {}, {}]).encode()
    return body, {"content_type": "application/json", "headers": headers}
