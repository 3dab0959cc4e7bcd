"""Whatever goes away in the middle of the work, each image is done or parked in the end, once.

The ``services`` profile on servers of its own. ``CHAOS_SEED`` sets the choices, ``CHAOS_IMAGES``,
``CHAOS_KILLS`` and ``CHAOS_RESTARTS`` the size. `make chaos` runs it; it is no part of the suite.
"""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline.backlog import backlog
from pipeline.errors import TransientError
from pipeline.queues import GPU_QUEUES, JOBS, QUEUES, Stage, error_queue
from pipeline.records import ANY_CATEGORY, ImageState
from pipeline.topology import asking
from tests.chaos import conftest
from tests.chaos.restartable import Restartable
from tests.pictures import encoded
from tests.services.conftest import Site
from tests.services.servers import free_port, mariadb, mongo, triton
from tests.services.servers.faults import FaultProxy
from tests.services.servers.rabbitmq import Node
from tests.services.servers.triton.pictures import picture

pytestmark = pytest.mark.chaos

SEED = int(os.environ.get("CHAOS_SEED", "1"))
IMAGES = int(os.environ.get("CHAOS_IMAGES", "500"))
KILLS = int(os.environ.get("CHAOS_KILLS", "20"))
RESTARTS = int(os.environ.get("CHAOS_RESTARTS", "2"))
LIMIT = 120 + 2 * IMAGES
AWAY = 2.0
"""Seconds for which a server is away."""

ENDED = (ImageState.DONE, ImageState.FAILED)
WORKERS = {
    "gpu": GPU_QUEUES,
    "io": (Stage.DESCRIBE.value,),
    "cpu": (Stage.UPDATE.value, Stage.SCORE.value, JOBS),
}


class Servers:
    """All that the services profile needs, each of the test's own, so that it can be taken away."""

    def __init__(self, folder: Path, s3_url: str, stack: ExitStack) -> None:
        for name in ("mongo", "mariadb", "triton"):
            (folder / name).mkdir()
        self.node = stack.enter_context(Node(folder))
        self.documents = Restartable(partial(mongo.started, folder / "mongo", port=free_port()))
        self.database = Restartable(partial(mariadb.started, folder / "mariadb", port=free_port()))
        documents, database = self.documents.start(), self.database.start()
        stack.callback(self.documents.stop)
        stack.callback(self.database.stop)
        (self.describer,) = stack.enter_context(triton.running(folder / "triton"))
        real = urlsplit(s3_url)
        proxy = FaultProxy(str(real.hostname), real.port or 80)
        self.objects = stack.enter_context(proxy.running())
        through = real.netloc.replace(f":{real.port}", f":{proxy.port}")
        database.execute("CREATE DATABASE justlens")
        database.execute("CREATE USER 'justlens'@'%' IDENTIFIED BY 'chaos'")
        database.execute("GRANT ALL ON justlens.* TO 'justlens'@'%'")
        self.environment = {
            "JUSTLENS_PROFILE": "services",
            "JUSTLENS_BROKER_URL": self.node.url,
            "JUSTLENS_DOCUMENTS_URL": f"{documents.url}justlens",
            "JUSTLENS_RELATIONAL_URL": (
                f"mysql+pymysql://justlens:chaos@127.0.0.1:{database.port}/justlens"
            ),
            "JUSTLENS_OBJECTS_URL": real._replace(netloc=through).geturl(),
            "JUSTLENS_DESCRIBER": "triton",
            "JUSTLENS_TRITON_SERVERS": self.describer.address,
            "JUSTLENS_TRITON_TIMEOUT": "5",
            "JUSTLENS_DESCRIBER_DEADLINE": "15",
        }


@pytest.fixture
def servers(tmp_path: Path, s3_url: str) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path, s3_url, stack)


@pytest.fixture
def site(tmp_path: Path, servers: Servers, redis_url: str, milvus_url: str) -> Iterator[Site]:
    site = Site(
        tmp_path,
        JUSTLENS_RESULT_URL=redis_url,
        JUSTLENS_VECTORS_URL=milvus_url,
        JUSTLENS_STUCK_AFTER="20",
        # An outage is outlived by retries, and seldom ends an image.
        JUSTLENS_RETRY_DELAY="1",
        JUSTLENS_MAX_RETRIES="6",
        **servers.environment,
    )
    yield site
    site.close()


class Chaos:
    """What goes wrong, in an order that the seed gives."""

    def __init__(self, site: Site, servers: Servers) -> None:
        self._site, self._servers = site, servers
        self._choose = random.Random(SEED)
        self._workers = {name: site.worker(*queues, name=name) for name, queues in WORKERS.items()}
        events: list[Callable[[], None]] = [self.kill_a_worker] * KILLS
        events += [self.restart_the_broker] * RESTARTS
        events += [self.stop_the_documents, self.stop_the_database]
        events += [self.kill_the_describer, self.refuse_objects]
        self._choose.shuffle(events)
        self.events = events
        self.happened: Counter[str] = Counter()

    def next(self) -> None:
        """Let the next thing go wrong; returns when all servers are there again."""
        event = self.events.pop()
        event()
        self.happened[event.__name__] += 1

    def kill_a_worker(self) -> None:
        name = self._choose.choice(list(WORKERS))
        killed = self._workers[name]
        killed.kill()
        killed.wait()
        self._site.processes.remove(killed)
        self._workers[name] = self._site.worker(*WORKERS[name], name=name)

    def restart_the_broker(self) -> None:
        self._servers.node.stop(self._choose.choice([signal.SIGTERM, signal.SIGKILL]))
        self._servers.node.start()

    def stop_the_documents(self) -> None:
        self._away(self._servers.documents)

    def stop_the_database(self) -> None:
        self._away(self._servers.database)

    def kill_the_describer(self) -> None:
        self._servers.describer.kill()
        self._servers.describer.start()

    def refuse_objects(self) -> None:
        """Nothing can be written, then nothing is answered."""
        objects = self._servers.objects
        for methods in ({"PUT"}, {"PUT", "GET", "HEAD"}):
            objects.refused = frozenset(methods)
            threading.Event().wait(AWAY)
        objects.refused = frozenset()

    @staticmethod
    def _away(server: Restartable[mongo.Server] | Restartable[mariadb.Server]) -> None:
        server.stop()
        threading.Event().wait(AWAY)
        server.start()


@pytest.mark.timeout(600 + 2 * LIMIT)
def test_each_image_is_done_or_parked_exactly_once(site: Site, servers: Servers) -> None:
    chaos = Chaos(site, servers)
    site.beat()
    for number in range(1, IMAGES + 1):
        site.intake.accept_bytes("shop-1", number, encoded(picture(number)))
    spread = IMAGES / (len(chaos.events) + 2)

    def ended() -> int:
        try:
            states = site.states()
        except TransientError:
            return 0
        return sum(states.get(state, 0) for state in ENDED)

    for step in range(1, len(chaos.events) + 1):
        site.until(lambda step=step: ended() >= step * spread, f"step {step} of {SEED}", LIMIT)
        chaos.next()
    site.until(lambda: ended() == IMAGES, f"all have ended, seed {SEED}", LIMIT)
    site.until(lambda: not waiting(site) and not held(site), "no message is left", LIMIT)
    for process in site.processes:
        process.terminate()
    for process in site.processes:
        process.wait(60)
    # What a worker had not acknowledged has come back by now.
    assert waiting(site) == {}

    documents = site.stores.documents
    rows = {row.product_id: row for row in documents.images(["shop-1"], limit=10 * IMAGES)}
    assert sorted(rows) == list(range(1, IMAGES + 1))
    done = {number for number, row in rows.items() if row.state is ImageState.DONE}
    letters = documents.dead_letters(limit=10 * IMAGES)
    for number in rows.keys() - done:
        causes = [f"{of.exception}: {of.message}" for of in letters if of.product_id == number]
        assert causes.count(rows[number].failure) == 1, "a failed image is parked once"
    parked = {letter["key"] for queue in QUEUES for letter in site.parked(queue)}
    assert parked == {letter.key for letter in letters}, "records and error queues say the same"

    known = documents.metadata([("shop-1", number) for number in done])
    assert {key[1] for key in known} == done
    objects = set(site.stores.objects.keys())
    for (_, number), metadata in known.items():
        assert metadata.stages.keys() == {stage.value for stage in Stage}
        assert metadata.generation == rows[number].generation == 1
        assert rows[number].original_key in objects
        assert metadata.enhancement is None or metadata.enhancement.key in objects
        alt_text = site.stores.directory.alt_text("shop-1", number)
        assert (alt_text.alttag if alt_text else "") == metadata.alt_text
    relevance = documents.relevance(["shop-1"], [ANY_CATEGORY, 1, 2])
    of_done = Counter(row.product_id for row in relevance if row.product_id in done)
    assert of_done == Counter(dict.fromkeys(done, 3)), "a row for each category"
    conftest.COUNTS = (
        f"chaos: seed {SEED}, {len(done)} done, {IMAGES - len(done)} parked, "
        f"{len(letters)} dead letters, {dict(sorted(chaos.happened.items()))}"
    )


def waiting(site: Site) -> dict[tuple[str, str], int]:
    """Messages in the queues, what is parked apart."""
    kept = {error_queue(queue) for queue in QUEUES}
    return {lane: n for lane, n in backlog(site.app).items() if n and lane[0] not in kept}


def held(site: Site) -> bool:
    """Whether a worker has a message: a late copy of one goes on through the graph."""
    with asking(site.app) as connection:
        workers = site.app.control.inspect(timeout=2, connection=connection)
        answers = [workers.active() or {}, workers.reserved() or {}]
    return any(len(answer) < len(WORKERS) or any(answer.values()) for answer in answers)
