"""Replaying what was parked: an image's graph from the stage that failed, or the message itself."""

import base64
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

    An entry goes when the broker has confirmed the new message, first the record, then the message
    in the error queue. A kill in between, or the same replay twice, sends the image's graph once
    more, and its stages find their work done.

    Args:
        documents: where the records are.
        intake: how images are sent again.
        publish: how messages that were no tasks of ours are sent again.
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
        """Send each of them again.

        Raises:
            BrokerUnavailable, StoreUnavailable: those before are sent; the rest is as it was.
        """
        letters = list(letters)
        sent = []
        try:
            for letter in letters:
                sent.append(self._send(letter))
        finally:
            keys = {one.key for one in sent if one.outcome != "refused"}
            self.drop(letter for letter in letters if letter.key in keys)
        return sent

    def drop(self, letters: Iterable[DeadLetter]) -> int:
        """Forget them; returns how many records there were."""
        return drop_letters(self._documents, self._withdraw, letters)

    def _send(self, letter: DeadLetter) -> Replayed:
        if letter.product_id is not None and letter.generation is not None:
            return self._send_image(letter, letter.product_id, letter.generation)
        try:
            self._publish(letter.queue, *_message(letter))
        except InvalidMessage as error:
            return Replayed(letter.key, "refused", str(error))
        return Replayed(letter.key, "sent", letter.queue)

    def _send_image(self, letter: DeadLetter, product_id: int, generation: int) -> Replayed:
        if self._intake.replay(letter.docid, product_id, generation, Stage(letter.queue)):
            return Replayed(letter.key, "sent", f"{letter.docid}/{product_id} from {letter.queue}")
        return Replayed(letter.key, "superseded", "a newer photo or a deletion took its place")


def _message(letter: DeadLetter) -> tuple[bytes, dict[str, Any]]:
    """The message that was parked as it came, by its record."""
    known = letter.kwargs if isinstance(letter.kwargs, dict) else {}
    if "cut_off" in known:
        raise InvalidMessage(f"the record holds only {known['cut_off']}")
    (text,) = letter.args if isinstance(letter.args, list) and len(letter.args) == 1 else ("",)
    if not isinstance(text, str):
        raise InvalidMessage("the record holds no message that could be sent again")
    scheme, colon, coded = text.partition("base64:")
    body = base64.b64decode(coded) if colon and not scheme else text.encode()
    return body, {"content_type": known.get("content_type"), "headers": known.get("headers")}
