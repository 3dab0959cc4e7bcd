"""A site of a test's own: an embedded broker and stores in a folder, workers as real processes."""

import base64
import json
import os
import runpy
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from amqp.basic_message import Message
from celery import Celery
from celery.__main__ import main as celery

from pipeline.broker import EmbeddedBroker
from pipeline.graph import Sender
from pipeline.ingest import Intake
from pipeline.queues import QUEUES, error_queue
from pipeline.records import Business, Category, ImageState
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores
from pipeline.topology import declare
from tests.fast_models import ENVIRONMENT
from tests.pictures import green
from tests.processes import ROOT, Command
from tests.services.servers import fixtures

# Found by pytest under their names here.
mysql_server, mysql_url = fixtures.mysql_server, fixtures.mysql_url
milvus_server, milvus_url = fixtures.milvus_server, fixtures.milvus_url
mongo_server, mongo_url = fixtures.mongo_server, fixtures.mongo_url
s3_server, s3_url = fixtures.s3_server, fixtures.s3_url
redis_url = fixtures.redis_url
rabbitmq_host, rabbitmq_url = fixtures.rabbitmq_host, fixtures.rabbitmq_url

LIMIT = 90.0

SHOP = Business(docid="shop-1", name="The Paint Shop")
CATEGORIES = [
    Category(catid=1, name="Red Paint", is_hot=True),
    Category(catid=2, name="Green Paint"),
]


class Site:
    """One data folder with its broker; workers are started and killed by the test.

    Args:
        folder: of the embedded parts.
        environment: settings of the parts that are not.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.journal = folder / "journal"
        own = {
            **ENVIRONMENT,
            "JUSTLENS_DATA_DIR": str(folder),
            "JUSTLENS_STUCK_AFTER": "3",
            "JUSTLENS_RECONCILE_EVERY": "1",
            "JUSTLENS_RETRY_DELAY": "0.1",
            "TEST_JOURNAL": str(self.journal),
            **environment,
        }
        self.environment = {**os.environ, **own}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in own.items():
                patch.setenv(name, value)
            self.settings = Settings()
        self.broker = EmbeddedBroker(self.settings)
        if EmbeddedBroker.wanted(self.settings):
            self.broker.ensure()
        self.stores: Stores = open_stores(self.settings)
        self.stores.prepare()
        self.app = self._application()
        with self.app.connection_for_write() as connection:
            declare(connection)
        self.intake = Intake(self.stores, self.settings, Sender(self.app))
        self.intake.save_business(SHOP, CATEGORIES)
        self.processes: list[Command] = []

    def _application(self) -> Celery:
        """A Celery application with the configuration that a worker here would have."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipeline.settings.settings", lambda: self.settings)
            namespace = runpy.run_path(str(ROOT / "celeryconfig.py"))
        app = Celery("test")
        app.config_from_object(
            {name: value for name, value in namespace.items() if not name.startswith("_")}
        )
        return app

    def worker(
        self,
        *queues: str,
        name: str = "test",
        options: Sequence[str] = (),
        **environment: str,
    ) -> Command:
        """The bare command, in a process of its own; all queues unless some are named."""
        chosen = ",".join(queues or QUEUES)
        command = ["worker", "-n", f"{name}@%h", *options, "-Q", chosen]
        return self._start(command, name, environment)

    def beat(self, **environment: str) -> Command:
        """The scheduler."""
        return self._start(["beat"], "beat", environment)

    def _start(self, command: list[str], name: str, environment: dict[str, str]) -> Command:
        process = Command(
            celery,
            ["celery", "-A", "tasks", *command, "--loglevel", "INFO"],
            {**self.environment, **environment},
            self.folder / f"{name}.log",
        )
        self.processes.append(process)
        return process

    def take_in(self, count: int, first: int = 1) -> None:
        """Hand in green pictures under consecutive product ids."""
        for number in range(first, first + count):
            self.intake.accept_bytes("shop-1", number, green(number))

    def kill(self) -> None:
        """SIGKILL every process of the site, the broker included."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()
        with self.broker.client() as client:
            server = int(client.info("server")["process_id"])
        os.kill(server, signal.SIGKILL)
        self.until(lambda: not self.broker.answers(), "the broker is gone")

    def until(
        self, condition: Callable[[], object], what: str, limit: float = LIMIT, every: float = 0.05
    ) -> None:
        """Poll until the condition holds."""
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() > end:
                pytest.fail(f"not within {limit:.0f} s: {what}\n{self.logs()}")
            time.sleep(every)

    def states(self) -> dict[ImageState, int]:
        """How many images are in each state."""
        return {state: n for state, n in self.stores.documents.count_states().items() if n}

    def parked(self, queue: str) -> list[dict[str, Any]]:
        """The dead letters that lie in the error queue of ``queue``; they stay there."""
        return [json.loads(body) for body in self.waiting(error_queue(queue))]

    def waiting(self, queue: str) -> list[bytes]:
        """The bodies of the messages that lie in a queue; they stay there."""
        found = []
        with self.app.connection_for_read() as connection:
            if connection.transport.driver_type == "redis":
                items = connection.default_channel.client.lrange(queue, 0, -1)
                return [base64.b64decode(json.loads(item)["body"]) for item in items]
            with connection.channel() as channel:
                channel.auto_decode = False
                # Given back when the channel is closed.
                while message := channel.basic_get(queue):
                    found.append(bytes(message.body))
        return found

    def publish(self, queue: str, body: bytes, **properties: Any) -> None:
        """Send what a producer that does not know Celery would send.

        Args:
            properties: of an AMQP message. On Valkey a message with any is put into kombu's form,
                with one and the same delivery tag for all.
        """
        with self.app.connection_for_write() as connection:
            channel = connection.default_channel
            if connection.transport.driver_type == "redis":
                channel.client.lpush(queue, _in_kombus_form(body, **properties))
            else:
                channel.basic_publish(Message(body, **properties), exchange="", routing_key=queue)

    def journal_lines(self) -> list[str]:
        """What the models have written down."""
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )

    def close(self) -> None:
        """End everything, gracefully."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.app.close()
        self.stores.close()
        self.broker.stop()


def _in_kombus_form(body: bytes, **properties: Any) -> bytes:
    if not properties:
        return body
    form = {
        "body": base64.b64encode(body).decode(),
        "content-type": properties.get("content_type"),
        "content-encoding": properties.get("content_encoding"),
        "headers": properties.get("application_headers", {}),
        "properties": {"body_encoding": "base64", "delivery_tag": "the same", "priority": 0},
    }
    return json.dumps(form).encode()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A running broker, open stores, and no worker yet."""
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.fixture
def site_on_rabbitmq(tmp_path: Path, rabbitmq_url: str) -> Iterator[Site]:
    """The same with RabbitMQ for a broker."""
    site = Site(tmp_path, JUSTLENS_BROKER_URL=rabbitmq_url)
    yield site
    site.close()


@pytest.fixture
def services_environment(
    rabbitmq_url: str,
    redis_url: str,
    mongo_url: str,
    mysql_url: str,
    s3_url: str,
    milvus_url: str,
) -> dict[str, str]:
    """The settings of the ``services`` profile with parts of servers that are the test's own."""
    return {
        "JUSTLENS_PROFILE": "services",
        "JUSTLENS_BROKER_URL": rabbitmq_url,
        "JUSTLENS_RESULT_URL": redis_url,
        "JUSTLENS_DOCUMENTS_URL": mongo_url,
        "JUSTLENS_RELATIONAL_URL": mysql_url,
        "JUSTLENS_OBJECTS_URL": s3_url,
        "JUSTLENS_VECTORS_URL": milvus_url,
    }


@pytest.fixture
def site_on_services(tmp_path: Path, services_environment: dict[str, str]) -> Iterator[Site]:
    """The same on servers for all parts."""
    site = Site(tmp_path, **services_environment)
    yield site
    site.close()


@pytest.fixture(params=["site", "site_on_services"], ids=["embedded", "services"])
def site_of_each_profile(request: pytest.FixtureRequest) -> Site:
    """Each of them in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["site", "site_on_rabbitmq"], ids=["valkey", "rabbitmq"])
def any_site(request: pytest.FixtureRequest) -> Site:
    """Each of them in turn."""
    return request.getfixturevalue(request.param)
