"""RabbitMQ, a node of the test's own, goes away in the middle of the work and comes back."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.backlog import backlog
from pipeline.queues import GPU_QUEUES, JOBS, Stage
from pipeline.records import ImageState
from tests.services.conftest import Site
from tests.services.servers.rabbitmq import Node

pytestmark = pytest.mark.chaos

IMAGES = 100


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path) as node:
        yield node


@pytest.fixture
def site(tmp_path: Path, node: Node) -> Iterator[Site]:
    # No image is slow here: any that did not move for long has lost its message.
    site = Site(tmp_path, JUSTLENS_BROKER_URL=node.url, JUSTLENS_STUCK_AFTER="20")
    yield site
    site.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_broker_that_goes_away_and_comes_back_loses_and_repeats_nothing(
    site: Site, node: Node, how: signal.Signals
) -> None:
    workers = [
        site.worker(*GPU_QUEUES, name="gpu", TEST_PASS_SECONDS="0.2"),
        site.worker(Stage.DESCRIBE.value, name="io"),
        site.worker(Stage.UPDATE.value, Stage.SCORE.value, JOBS, name="cpu"),
    ]
    site.beat()
    site.take_in(IMAGES)
    site.until(lambda: site.states().get(ImageState.DONE, 0) >= 20, "the first are done")
    assert site.states().get(ImageState.DONE, 0) < IMAGES
    node.stop(how)
    node.start()
    site.until(lambda: site.states() == {ImageState.DONE: IMAGES}, "all are done", limit=200)

    assert site.stores.documents.dead_letters() == []
    assert all(worker.poll() is None for worker in workers)
    rows = site.stores.documents.relevance(["shop-1"], [1, 2])
    assert sorted((row.product_id, row.catid) for row in rows) == [
        (number, catid) for number in range(1, IMAGES + 1) for catid in (1, 2)
    ]
    # Nothing twice: each picture went through the network once, or a second time if its message
    # came back before its result was written.
    passes = [line for line in site.journal_lines() if line.startswith("pass")]
    assert sum(int(line.split()[1]) for line in passes) <= IMAGES + 16
    # The queues are empty in the end, and nothing is held.
    site.until(lambda: not any(backlog(site.app).values()), "no message is left")
