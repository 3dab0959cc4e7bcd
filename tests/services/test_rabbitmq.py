"""What RabbitMQ is asked for, and what it does with it."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from amqp.exceptions import PreconditionFailed
from kombu import Connection, Queue

from pipeline.backlog import backlog, depths
from pipeline.messages import ImageJob
from pipeline.queues import GPU_QUEUES, QUEUES, SLOTS, Lane, Stage, error_queue, lane_queue
from pipeline.records import ImageState
from pipeline.topology import (
    DELIVERY_LIMIT,
    EXCHANGE,
    UNROUTED_QUEUE,
    declare,
    kept_queue,
    work_queue,
    work_queues,
)
from tasks.rabbitmq import SlotConsumer
from tests.pictures import green
from tests.services.conftest import Site
from tests.services.servers.certificate import make_certificate
from tests.services.servers.rabbitmq import Node

pytestmark = pytest.mark.services

TAG = Stage.TAG.value
ERRORS = error_queue(TAG)


@pytest.fixture
def site(site_on_rabbitmq: Site) -> Site:
    return site_on_rabbitmq


@contextmanager
def connected(site: Site) -> Iterator[Connection]:
    with site.app.connection_for_write() as connection:
        yield connection


@pytest.mark.parametrize(
    "queue",
    [work_queue(TAG), work_queue(TAG, Lane.BULK), kept_queue(ERRORS)],
    ids=lambda queue: queue.name,
)
def test_queues_are_durable_quorum_queues(site: Site, queue: Queue) -> None:
    classic = queue.queue_arguments | {"x-queue-type": "classic"}
    with connected(site) as connection:
        channel = connection.channel()
        with pytest.raises(PreconditionFailed, match="x-queue-type"):
            channel.queue_declare(queue.name, durable=True, auto_delete=False, arguments=classic)


def test_declaring_again_changes_nothing(site: Site) -> None:
    site.publish(TAG, b"{}")
    with connected(site) as connection:
        declare(connection)
    assert depths(backlog(site.app))[TAG] == 1


def test_queues_that_fall_before_their_first_write_are_made_nevertheless(tmp_path: Path) -> None:
    with Node(tmp_path, tick_ms=1) as node, Connection(node.url) as connection:
        declare(connection)
        made = {queue.name for queue in work_queues()} | {UNROUTED_QUEUE, *map(error_queue, QUEUES)}
        assert made <= node.queues().keys()
        log = "".join(path.read_text() for path in tmp_path.glob("rabbitmq/log/*.log"))
    # That it was the case which is meant.
    assert "rabbit_quorum_queue:handle_tick" in log


def test_workers_have_the_connection_that_reads_ahead(site: Site) -> None:
    code = (
        "from tasks import app; connection = app.connection_for_read();"
        "connection.connect(); print(type(connection.connection).__module__)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **site.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert said.stdout == "pipeline.rabbitmq\n"


def test_what_cannot_be_routed_is_kept(site: Site) -> None:
    with connected(site) as connection:
        connection.Producer().publish({"a": 1}, exchange=EXCHANGE.name, routing_key="misspelt")
    site.until(lambda: site.waiting(UNROUTED_QUEUE), "it is kept")
    assert site.waiting(UNROUTED_QUEUE) == [b'{"a": 1}']


def test_what_is_given_back_too_often_goes_to_the_error_queue(site: Site) -> None:
    site.publish(TAG, b"poison")
    for _ in range(DELIVERY_LIMIT + 1):
        # Closing the connection gives back what was not acknowledged.
        site.until(lambda: site.waiting(TAG) == [b"poison"] or site.waiting(ERRORS), "it is back")
    site.until(lambda: site.waiting(ERRORS) == [b"poison"], "it is given up")
    assert site.waiting(TAG) == []


def test_what_is_rejected_goes_to_the_error_queue_of_its_queue(site: Site) -> None:
    bulk = lane_queue(TAG, Lane.BULK)
    site.publish(bulk, b"unwanted")
    with connected(site) as connection:
        channel = connection.default_channel
        site.until(lambda: channel.queue_declare(bulk, passive=True).message_count, "it is there")
        channel.basic_reject(channel.basic_get(bulk).delivery_tag, requeue=False)
        site.until(lambda: site.waiting(ERRORS), "it is kept")
    assert site.waiting(ERRORS) == [b"unwanted"]
    assert site.waiting(bulk) == []


def test_a_retry_waits_in_rabbitmq_and_not_in_a_slot(site: Site) -> None:
    # The photo's address refuses connections: a transient error, tried again.
    site.worker(Stage.ENHANCE.value, JUSTLENS_RETRY_DELAY="24")
    site.until(lambda: site.app.control.ping(timeout=1), "the worker answers")
    site.intake.accept_job(
        ImageJob(docid="shop-1", product_id=1, product_url="http://127.0.0.1:9/a.jpg")
    )
    delayed = [f"celery_delayed_{level}" for level in range(5)]

    def outside() -> int:
        return sum(len(site.waiting(queue)) for queue in delayed)

    site.until(outside, "it waits outside")
    seen = site.app.control.inspect(timeout=2)

    def idle(held: dict[str, list[object]] | None) -> bool:
        return held is not None and not any(held.values())

    # The run that sent it there is at its last lines and leaves its slot before the next try.
    site.until(lambda: idle(seen.active()), "no slot is held")
    assert idle(seen.scheduled())
    assert outside() == 1
    assert depths(backlog(site.app))[Stage.ENHANCE.value] == 0
    # A second photo is done meanwhile, and the first one's tries go on.
    site.intake.accept_bytes("shop-1", 2, green(2))
    site.until(lambda: ended(site, 2, Stage.ENHANCE), "the second is done")
    assert site.states().get(ImageState.FAILED) is None


def test_the_bulk_lane_waits_while_the_interactive_lane_has_messages(site: Site) -> None:
    bulk = range(1, 81)
    interactive = range(201, 221)
    for number in bulk:
        site.intake.accept_bytes("shop-1", number, green(number), lane=Lane.BULK)
    assert backlog(site.app)[Stage.ENHANCE.value, "bulk"] == len(bulk)
    for number in interactive:
        site.intake.accept_bytes("shop-1", number, green(number))
    site.worker(Stage.ENHANCE.value)
    site.until(
        lambda: all(ended(site, number, Stage.ENHANCE) for number in interactive),
        "all interactive ones are done",
    )
    before = sum(ended(site, number, Stage.ENHANCE) for number in bulk)
    # What the worker had taken before it looked, and what it took in the last moment.
    assert before <= 3 * SLOTS[Stage.ENHANCE.value]
    site.until(
        lambda: all(ended(site, number, Stage.ENHANCE) for number in bulk), "the others follow"
    )


def test_of_each_queue_no_more_is_taken_than_there_are_slots_for_it(site: Site) -> None:
    taken: Counter[str] = Counter()
    for queue in GPU_QUEUES:
        for number in range(30):
            site.publish(queue, str(number).encode())
    with connected(site) as connection:
        consumer = SlotConsumer(
            connection,
            [work_queue(queue) for queue in GPU_QUEUES],
            on_message=lambda message: taken.update([message.delivery_info["routing_key"]]),
        )
        with consumer:
            expected = {queue: SLOTS[queue] for queue in GPU_QUEUES}
            while taken.total() < sum(expected.values()):
                connection.drain_events(timeout=10)
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.5)
    assert taken == expected


def test_a_second_worker_for_a_queue_needs_only_its_command(site: Site) -> None:
    site.worker(*(queue for queue in QUEUES if queue != Stage.ENHANCE.value), name="rest")
    site.worker(Stage.ENHANCE.value, name="one", TEST_PASS_SECONDS="0.3")
    site.worker(Stage.ENHANCE.value, name="two", TEST_PASS_SECONDS="0.3")
    site.until(lambda: len(site.app.control.ping(timeout=1)) == 3, "three workers answer")
    site.take_in(24)
    site.until(lambda: site.states() == {ImageState.DONE: 24}, "all are done")
    assert len({line for line in site.journal_lines() if line.startswith("process")}) == 2


def ended(site: Site, number: int, stage: Stage) -> bool:
    metadata = site.stores.documents.metadata([("shop-1", number)]).get(("shop-1", number))
    return metadata is not None and stage.value in metadata.stages


@pytest.mark.parametrize(
    ("host", "is_trusted", "answer"),
    [
        ("127.0.0.1", True, "RabbitMQ"),
        ("127.0.0.1", False, "certificate verify failed"),
        ("127.0.0.2", True, "certificate verify failed"),
    ],
    ids=["all is well", "unknown authority", "another name"],
)
def test_over_tls_the_authority_and_the_name_are_checked(
    tls_node: tuple[Node, Path], tmp_path: Path, host: str, is_trusted: bool, answer: str
) -> None:
    node, authority = tls_node
    said = subprocess.run(
        [sys.executable, "-c", "from pipeline.graph import Sender; print(Sender().broker())"],
        env={
            **os.environ,
            "JUSTLENS_BROKER_URL": f"amqps://guest:guest@{host}:{node.tls_port}//",
            "JUSTLENS_DATA_DIR": str(tmp_path),
            **({"SSL_CERT_FILE": str(authority)} if is_trusted else {}),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer in said.stdout + said.stderr


@pytest.fixture(scope="module")
def tls_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Path]]:
    """A node with TLS, and the certificate that proves it."""
    folder = tmp_path_factory.mktemp("tls")
    files = make_certificate(folder)
    with Node(folder, files) as node:
        yield node, files[0]
