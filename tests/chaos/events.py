"""What the services profile runs on, and what goes wrong with it, in an order that a seed gives."""

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.queues import CPU_QUEUES, GPU_QUEUES, IO_QUEUES
from tests.chaos.restartable import Restartable
from tests.services.conftest import Site
from tests.services.servers import free_port, mariadb, mongo, triton, valkey
from tests.services.servers.faults import FaultProxy
from tests.services.servers.rabbitmq import Node

WORKERS = {"gpu": GPU_QUEUES, "io": IO_QUEUES, "cpu": CPU_QUEUES}
AWAY = 2.0
"""Seconds for which a server is away."""


class Servers:
    """All that the services profile needs, each of the run's own, so that it can be taken away."""

    def __init__(self, folder: Path, s3_url: str, milvus_url: str, stack: ExitStack) -> None:
        for name in ("mongo", "mariadb", "triton", "valkey"):
            (folder / name).mkdir()
        self.node = stack.enter_context(Node(folder, tick_ms=300))
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
            "JUSTLENS_RESULT_URL": stack.enter_context(valkey.started(folder / "valkey")),
            "JUSTLENS_DOCUMENTS_URL": f"{documents.url}justlens",
            "JUSTLENS_RELATIONAL_URL": (
                f"mysql+pymysql://justlens:chaos@127.0.0.1:{database.port}/justlens"
            ),
            "JUSTLENS_OBJECTS_URL": real._replace(netloc=through).geturl(),
            "JUSTLENS_VECTORS_URL": milvus_url,
            "JUSTLENS_DESCRIBER": "triton",
            "JUSTLENS_TRITON_SERVERS": self.describer.address,
            "JUSTLENS_TRITON_TIMEOUT": "5",
            "JUSTLENS_DESCRIBER_DEADLINE": "15",
        }


class Events:
    """Each happens when it is asked for, and is over when the call returns.

    Args:
        seed: of the order, and of what is killed how.
        kills: of workers.
        restarts: of the broker.
    """

    def __init__(
        self, site: Site, servers: Servers, *, seed: int, kills: int, restarts: int
    ) -> None:
        self._site, self._servers = site, servers
        self._choose = random.Random(seed)
        self._workers = {name: site.worker(*queues, name=name) for name, queues in WORKERS.items()}
        events: list[Callable[[], None]] = [self.kill_a_worker] * kills
        events += [self.restart_the_broker] * restarts
        events += [self.stop_the_documents, self.stop_the_database]
        events += [self.kill_the_describer, self.refuse_objects]
        self._choose.shuffle(events)
        self._ahead = events
        self.happened: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many are still to come."""
        return len(self._ahead)

    def next(self) -> None:
        """Let the next thing go wrong; returns when all servers are there again."""
        event = self._ahead.pop()
        event()
        self.happened[event.__name__.replace("_", " ")] += 1

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
        _away(self._servers.documents)

    def stop_the_database(self) -> None:
        _away(self._servers.database)

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


def _away(server: Restartable[mongo.Server] | Restartable[mariadb.Server]) -> None:
    server.stop()
    threading.Event().wait(AWAY)
    server.start()
