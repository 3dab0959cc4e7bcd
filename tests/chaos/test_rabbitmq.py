"""RabbitMQ, a node of the test's own, goes away in the middle of the work and comes back."""

import itertools
import signal
from collections.abc import Iterator

import pytest

from pipeline.backlog import backlog
from pipeline.queues import GPU_QUEUES, JOBS, Stage
from pipeline.records import ImageState
from tests.services.conftest import Site
from tests.services.servers.rabbitmq import Node

pytestmark = pytest.mark.chaos

IMAGES = 60
WORKERS = {
    "gpu": GPU_QUEUES,
    "io": (Stage.DESCRIBE.value,),
    "cpu": (Stage.UPDATE.value, Stage.SCORE.value, JOBS),
}
firsts = itertools.count(1, IMAGES)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, node: Node) -> Iterator[Site]:
    """A site with its workers, which outlive whatever becomes of the node."""
    # No image is slow here: any that did not move for long has lost its message.
    folder = tmp_path_factory.mktemp("site")
    site = Site(folder, JUSTLENS_BROKER_URL=node.url, JUSTLENS_STUCK_AFTER="20")
    for name, queues in WORKERS.items():
        site.worker(*queues, name=name, TEST_PASS_SECONDS="0.2")
    site.beat()
    yield site
    site.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_broker_that_goes_away_and_comes_back_loses_and_repeats_nothing(
    site: Site, node: Node, how: signal.Signals
) -> None:
    numbers = range(first := next(firsts), first + IMAGES)
    passes = passed(site)
    site.take_in(IMAGES, first)
    site.until(lambda: done(site, numbers) >= 15, "the first are done")
    assert done(site, numbers) < IMAGES
    node.stop(how)
    node.start()
    site.until(lambda: done(site, numbers) == IMAGES, "all are done", limit=200)

    assert site.stores.documents.dead_letters() == []
    assert all(process.poll() is None for process in site.processes)
    rows = site.stores.documents.relevance(["shop-1"], [1, 2])
    assert sorted((row.product_id, row.catid) for row in rows if row.product_id in numbers) == [
        (number, catid) for number in numbers for catid in (1, 2)
    ]
    # Nothing twice: each picture went through the network once, or a second time if its message
    # came back before its result was written.
    assert passed(site) - passes <= IMAGES + 16
    # The queues are empty in the end, and nothing is held.
    site.until(lambda: not any(backlog(site.app).values()), "no message is left")


def done(site: Site, numbers: range) -> int:
    """How many of the images are done."""
    images = site.stores.documents.images(["shop-1"], limit=10 * IMAGES)
    return sum(row.state is ImageState.DONE for row in images if row.product_id in numbers)


def passed(site: Site) -> int:
    """How many images went through the network."""
    passes = [line for line in site.journal_lines() if line.startswith("pass")]
    return sum(int(line.split()[1]) for line in passes)
