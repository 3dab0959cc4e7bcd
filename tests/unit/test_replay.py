"""Sending again what was parked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.dead_letters import Parking, letter_from
from pipeline.errors import BrokerUnavailable
from pipeline.ingest import Intake
from pipeline.queues import Lane, Stage
from pipeline.records import DeadLetter, ImageState
from pipeline.replay import Replayer
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores
from tests.pictures import green
from tests.shops import ErrorQueues, Outbox

TAG = Stage.TAG.value


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    stores = open_stores(Settings(data_dir=tmp_path))
    yield stores
    stores.close()


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def queues() -> ErrorQueues:
    return ErrorQueues()


@pytest.fixture
def intake(stores: Stores, outbox: Outbox, tmp_path: Path) -> Intake:
    return Intake(stores, Settings(data_dir=tmp_path), outbox)


@pytest.fixture
def replayer(stores: Stores, intake: Intake, queues: ErrorQueues) -> Replayer:
    return Replayer(stores.documents, intake, queues.send_back, queues.withdraw)


@pytest.fixture
def parked(stores: Stores, intake: Intake, outbox: Outbox, queues: ErrorQueues) -> DeadLetter:
    """The failure that ended an image at its tagging."""
    intake.accept_bytes("shop", 7, green(7), lane=Lane.BULK)
    outbox.sent.clear()
    return park(stores, queues, "1", [{"docid": "shop", "product_id": 7, "generation": 1}])


def park(
    stores: Stores, queues: ErrorQueues, task_id: str, args: list[Any], **kwargs: Any
) -> DeadLetter:
    letter = letter_from(
        queue=TAG, task=TAG, task_id=task_id, error=ValueError("no"), args=args, kwargs=kwargs
    )
    Parking(stores.documents, queues.park).park(letter, ends_image=True)
    return letter


def test_an_image_goes_on_from_the_stage_that_failed_as_interactive_work(
    replayer: Replayer, parked: DeadLetter, stores: Stores, outbox: Outbox, queues: ErrorQueues
) -> None:
    (result,) = replayer.replay([parked])
    assert result.outcome == "sent"
    ((image, start),) = outbox.sent
    assert (image.product_id, start, image.lane) == (7, Stage.TAG, Lane.INTERACTIVE)
    row = stores.documents.image("shop", 7)
    assert row is not None and (row.state, row.failure) == (ImageState.QUEUED, "")
    assert stores.documents.dead_letters() == []
    assert queues.left() == []


def test_an_entry_stays_while_the_broker_does_not_confirm(
    replayer: Replayer, parked: DeadLetter, stores: Stores, outbox: Outbox, queues: ErrorQueues
) -> None:
    outbox.is_down = True
    with pytest.raises(BrokerUnavailable):
        replayer.replay([parked])
    assert [letter.key for letter in stores.documents.dead_letters()] == [parked.key]
    assert queues.left() == [parked.key]


def test_those_sent_before_the_broker_went_away_are_gone_and_the_rest_is_kept(
    replayer: Replayer, parked: DeadLetter, stores: Stores, outbox: Outbox, queues: ErrorQueues
) -> None:
    other = park(stores, queues, "2", ["text"], content_type="application/json")

    def fails(*_: object) -> None:
        raise BrokerUnavailable("gone")

    queues.send_back = fails  # type: ignore[method-assign]
    replayer = Replayer(stores.documents, replayer._intake, fails, queues.withdraw)
    with pytest.raises(BrokerUnavailable):
        replayer.replay([parked, other])
    assert len(outbox.sent) == 1
    assert queues.left() == [other.key]


def test_a_replay_that_is_killed_before_its_entry_goes_is_repeated_and_then_it_goes(
    replayer: Replayer,
    parked: DeadLetter,
    stores: Stores,
    outbox: Outbox,
    queues: ErrorQueues,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(stores.documents, "drop_dead_letter", _killed)
        with pytest.raises(KeyboardInterrupt):
            replayer.replay([parked])
    assert (len(outbox.sent), stores.documents.dead_letters()) == (1, [parked])
    assert replayer.replay([parked])[0].outcome == "sent"
    assert stores.documents.dead_letters() == [] and queues.left() == []
    assert {start for _, start in outbox.sent} == {Stage.TAG}


def _killed(_: str) -> bool:
    raise KeyboardInterrupt


def test_what_another_replay_has_sent_meanwhile_is_not_sent_again(
    replayer: Replayer, parked: DeadLetter, outbox: Outbox
) -> None:
    assert [one.outcome for one in replayer.replay([parked, parked])] == ["sent"]
    outbox.sent.clear()
    assert replayer.replay([parked]) == []
    assert outbox.sent == []


def test_what_a_newer_photo_has_replaced_is_dropped(
    replayer: Replayer, parked: DeadLetter, intake: Intake, outbox: Outbox, queues: ErrorQueues
) -> None:
    intake.accept_bytes("shop", 7, green(8))
    outbox.sent.clear()
    (result,) = replayer.replay([parked])
    assert result.outcome == "superseded"
    assert outbox.sent == []
    assert queues.left() == []


def test_what_was_deleted_meanwhile_is_dropped(
    replayer: Replayer, parked: DeadLetter, stores: Stores, outbox: Outbox
) -> None:
    stores.documents.delete_image("shop", 7)
    assert replayer.replay([parked])[0].outcome == "superseded"
    assert outbox.sent == []


@pytest.mark.parametrize(
    ("text", "body"), [('{"a": 1}', b'{"a": 1}'), ("base64:/w==", b"\xff"), ("", b"")]
)
def test_a_message_that_was_no_task_is_sent_back_as_it_came(
    replayer: Replayer, stores: Stores, queues: ErrorQueues, text: str, body: bytes
) -> None:
    letter = park(stores, queues, "3", [text], content_type="text/plain", headers={"a": "b"})
    assert replayer.replay([letter])[0].outcome == "sent"
    assert queues.sent_back == [(TAG, body, {"content_type": "text/plain", "headers": {"a": "b"}})]
    assert queues.left() == []


def test_a_message_that_was_no_task_is_not_taken_for_the_image_that_it_names(
    replayer: Replayer, stores: Stores, queues: ErrorQueues, outbox: Outbox
) -> None:
    known = {"docid": "shop", "product_id": 7, "generation": 1}
    letter = park(stores, queues, "5", [known], headers={}, content_type="").model_copy(
        update={"args": ["{}"]}
    )
    stores.documents.park(letter)
    assert replayer.replay([letter])[0].outcome == "sent"
    assert queues.sent_back == [(TAG, b"{}", {"content_type": "", "headers": {}})]
    assert outbox.sent == []


def test_a_task_that_is_about_no_image_is_sent_anew(
    replayer: Replayer, stores: Stores, queues: ErrorQueues
) -> None:
    letter = park(stores, queues, "6", [1], days=2)
    assert replayer.replay([letter])[0].outcome == "sent"
    ((queue, body, properties),) = queues.sent_back
    assert (queue, json.loads(body)) == (TAG, [[1], {"days": 2}, {}])
    assert properties["headers"]["task"] == letter.task
    assert properties["headers"]["id"] != letter.task_id


def test_a_message_of_which_only_a_part_is_known_is_kept(
    replayer: Replayer, stores: Stores, queues: ErrorQueues
) -> None:
    letter = park(stores, queues, "4", ["x" * 200_000])
    record = stores.documents.dead_letter(letter.key)
    assert record is not None
    assert replayer.replay([record])[0].outcome == "refused"
    assert queues.left() == [letter.key]
    assert queues.sent_back == []


def test_what_is_dropped_is_gone_and_its_image_stays_as_it_is(
    replayer: Replayer, parked: DeadLetter, stores: Stores, outbox: Outbox, queues: ErrorQueues
) -> None:
    assert replayer.drop([parked]) == 1
    assert replayer.drop([parked]) == 0
    assert queues.left() == [] and outbox.sent == []
    row = stores.documents.image("shop", 7)
    assert row is not None and row.state is ImageState.FAILED
