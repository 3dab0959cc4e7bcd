"""What the broker puts into error queues by itself is found where people look."""

from typing import Any

import pytest

from pipeline.dead_letters import Parking, Publisher, letter_from
from pipeline.error_queues import ErrorQueues
from pipeline.errors import UndecodableImage
from pipeline.graph import Sender
from pipeline.queues import JOBS, Lane, Stage, error_queue
from pipeline.records import DeadLetter, ImageState
from pipeline.replay import Replayer
from pipeline.topology import DELIVERY_LIMIT, EXCHANGE, UNROUTED, UNROUTED_QUEUE
from pipeline.unrecorded import Unrecorded
from tests.pictures import green
from tests.services.conftest import Site

pytestmark = pytest.mark.services

ENHANCE = Stage.ENHANCE.value
ERRORS = error_queue(ENHANCE)


def send(site: Site, body: object, to: str) -> None:
    with site.app.connection_for_write() as connection:
        connection.Producer().publish(body, exchange=EXCHANGE.name, routing_key=to)


def park(site: Site) -> int:
    """What the reconciler does."""
    sender = Sender(site.app)
    parking = Parking(site.stores.documents, Publisher(site.app))
    unrecorded = Unrecorded(site.stores.documents, sender.error_queues, parking)
    return unrecorded.park(sender.backlog())


def give_up(site: Site, queue: str) -> None:
    """Give back what lies in a queue until the broker gives it up."""
    for _ in range(DELIVERY_LIMIT + 1):
        # Closing the connection gives back what was not acknowledged.
        site.until(
            lambda: site.waiting(queue) or site.waiting(error_queue(queue)), "it is back or gone"
        )
    site.until(lambda: site.waiting(error_queue(queue)), "it is given up")


def recorded(site: Site, queue: str) -> list[DeadLetter]:
    """The records of a queue, each of which has its one message in the error queue."""
    records = site.stores.documents.dead_letters(queue=queue)
    keys = sorted(letter["key"] for letter in site.parked(queue))
    assert sorted(record.key for record in records) == keys
    return records


def replayer(site: Site) -> Replayer:
    queues = ErrorQueues(site.app)
    return Replayer(site.stores.documents, site.intake, queues.send_back, queues.withdraw)


def test_what_lies_without_a_record_has_one_soon(site_on_rabbitmq: Site) -> None:
    site = site_on_rabbitmq
    for number in range(3):
        send(site, {"a": number}, "misspelt")
    site.publish(JOBS, b"poison")
    give_up(site, JOBS)
    processes = [site.beat(), site.worker(JOBS)]
    site.until(lambda: site.stores.documents.count_dead_letters(), "the reconciler runs")
    site.until(lambda: len(site.stores.documents.dead_letters()) == 4, "all have a record")
    # What is turned over meanwhile lies in no queue.
    for process in processes:
        process.terminate()
        process.wait(30)
    letters = recorded(site, UNROUTED)
    assert sorted(letter.args[0] for letter in letters) == ['{"a": 0}', '{"a": 1}', '{"a": 2}']
    assert {letter.message for letter in letters} == {"no queue is called 'misspelt'"}
    (given_up,) = recorded(site, JOBS)
    assert (given_up.exception, given_up.args) == ("PoisonMessage", ["poison"])
    assert str(DELIVERY_LIMIT) in given_up.message


def test_an_image_whose_message_was_given_up_has_failed_and_can_be_replayed(
    site_on_rabbitmq: Site,
) -> None:
    site = site_on_rabbitmq
    site.take_in(1)
    give_up(site, ENHANCE)
    assert park(site) == 1
    (letter,) = recorded(site, ENHANCE)
    assert (letter.docid, letter.product_id, letter.task) == ("shop-1", 1, ENHANCE)
    assert letter.tries == DELIVERY_LIMIT + 1
    assert site.states() == {ImageState.FAILED: 1}
    site.worker()
    assert [one.outcome for one in replayer(site).replay([letter])] == ["sent"]
    site.until(lambda: site.states() == {ImageState.DONE: 1}, "it is done")
    assert recorded(site, ENHANCE) == []


def test_what_had_no_queue_is_sent_to_its_address_again(site_on_rabbitmq: Site) -> None:
    site = site_on_rabbitmq
    send(site, {"docid": "shop-1"}, "late")
    site.until(lambda: site.waiting(UNROUTED_QUEUE), "it is kept")
    park(site)
    (letter,) = recorded(site, UNROUTED)
    with site.app.connection_for_write() as connection, connection.channel() as channel:
        channel.queue_declare("late", durable=True, auto_delete=False)
        channel.queue_bind("late", EXCHANGE.name, "late")
    assert [one.outcome for one in replayer(site).replay([letter])] == ["sent"]
    assert site.waiting("late") == [b'{"docid": "shop-1"}']
    assert recorded(site, UNROUTED) == []


def test_what_is_addressed_wrongly_stays_wrong_and_can_be_dropped(site_on_rabbitmq: Site) -> None:
    site = site_on_rabbitmq
    for number in range(2):
        send(site, {"a": number}, "misspelt")
    site.until(lambda: len(site.waiting(UNROUTED_QUEUE)) == 2, "both are kept")
    park(site)
    first, second = recorded(site, UNROUTED)
    replayer(site).replay([first])
    site.until(lambda: len(site.waiting(UNROUTED_QUEUE)) == 2, "it is back")
    assert park(site) == 1
    again, other = sorted(recorded(site, UNROUTED), key=lambda letter: letter.key == second.key)
    assert (again.args, again.message) == (first.args, first.message)
    assert replayer(site).drop([again, other]) == 2
    assert site.waiting(UNROUTED_QUEUE) == []
    assert park(site) == 0


def test_of_what_workers_have_parked_each_keeps_its_one_message_and_its_one_record(
    any_site: Site,
) -> None:
    site = any_site
    publish = Publisher(site.app)
    parking = Parking(site.stores.documents, publish)
    letters = [letter(site, number) for number in range(1, 6)]
    for one in letters:
        parking.park(one, ends_image=False)
    assert park(site) == 0
    # A kill between the message and the record, and one between the record and its message's end.
    site.stores.documents.drop_dead_letter(letters[0].key)
    publish(ERRORS, letters[1].model_dump(mode="json"))
    assert park(site) == 1
    assert len(recorded(site, ENHANCE)) == 5
    assert park(site) == 0


def test_what_belongs_to_a_deleted_image_goes(any_site: Site) -> None:
    site = any_site
    site.take_in(2)
    publish = Publisher(site.app)
    for number in (1, 2):
        publish(ERRORS, letter(site, number).model_dump(mode="json"))
    site.stores.documents.delete_image("shop-1", 1)
    assert park(site) == 1
    assert [one.product_id for one in recorded(site, ENHANCE)] == [2]


def letter(site: Site, number: int) -> DeadLetter:
    body: dict[str, Any] = {"docid": "shop-1", "product_id": number, "generation": 1}
    return letter_from(
        queue=ENHANCE,
        task=ENHANCE,
        task_id=f"t{number}",
        error=UndecodableImage("no picture"),
        args=[body],
    )


def test_the_bulk_lane_has_the_error_queue_of_its_queue(site_on_rabbitmq: Site) -> None:
    site = site_on_rabbitmq
    site.intake.accept_bytes("shop-1", 1, green(1), lane=Lane.BULK)
    bulk = f"{ENHANCE}.bulk"
    with site.app.connection_for_write() as connection:
        channel = connection.default_channel
        site.until(lambda: channel.queue_declare(bulk, passive=True).message_count, "it is there")
        channel.basic_reject(channel.basic_get(bulk).delivery_tag, requeue=False)
        site.until(lambda: site.waiting(ERRORS), "it is kept")
    park(site)
    (one,) = recorded(site, ENHANCE)
    assert (one.product_id, one.exception) == (1, "InvalidMessage")
    assert one.message == "the broker has given it up: rejected"
