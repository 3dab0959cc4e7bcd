"""RabbitMQ: a virtual host for each test on the server that runs, or a node of the test's own."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from amqp.exceptions import NotFound
from kombu import Connection
from kombu.transport.native_delayed_delivery import MAX_LEVEL, level_name

from pipeline.queues import ENHANCED_PRODUCTS, QUEUES, error_queue
from pipeline.topology import UNROUTED_QUEUE, work_queues
from tests.services.servers import free_port, wait_for

SETTING = "JUSTLENS_TEST_AMQP_URL"
DEFAULT = "amqp://guest:guest@127.0.0.1:5672//"
# Debian's own command, without the wrapper that changes the user.
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
# What rabbitmqctl calls them.
WAITING, HELD = "messages_ready", "messages_unacknowledged"


@contextmanager
def virtual_host(folder: Path) -> Iterator[str]:
    """The address of a virtual host of the test's own, removed afterwards.

    Args:
        folder: for the files of a node, where none runs that can be used.
    """
    if SETTING in os.environ:
        # Whoever names a server has made a virtual host for us.
        yield os.environ[SETTING]
        return
    if _answers(DEFAULT) and _control("list_vhosts") == 0:
        name = f"justlens-{uuid.uuid4().hex[:8]}"
        _control("add_vhost", name)
        _control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        try:
            yield urlunsplit(urlsplit(DEFAULT)._replace(path=f"/{name}"))
        finally:
            _control("delete_vhost", name)
        return
    with Node(folder) as node:
        yield node.url


def purge(url: str) -> None:
    """Empty all our queues."""
    kept = [UNROUTED_QUEUE, ENHANCED_PRODUCTS, *map(error_queue, QUEUES)]
    delayed = [level_name(level) for level in range(MAX_LEVEL + 1)]
    with Connection(url) as connection:
        for name in (*kept, *delayed, *(queue.name for queue in work_queues())):
            # A channel of its own: the broker closes it where there is no such queue.
            with connection.channel() as channel, contextlib.suppress(NotFound):
                channel.queue_purge(name)


class Node:
    """A RabbitMQ server of the test's own, which can be stopped, killed and started again.

    Args:
        folder: for its data and logs.
        certificate: the files of a certificate and its key, for a second port with TLS.
        tick_ms: how old figures of quorum queues may be; RabbitMQ's own is five seconds.
    """

    def __init__(
        self,
        folder: Path,
        certificate: tuple[Path, Path] | None = None,
        tick_ms: int = 5000,
    ) -> None:
        if _program("rabbitmq-server") is None:
            pytest.skip(f"no RabbitMQ is installed and {SETTING} names none")
        self._folder = folder / "rabbitmq"
        self._folder.mkdir(parents=True)
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self._process: subprocess.Popen[bytes] | None = None
        (self._folder / "plugins").write_text("[].\n")
        self.tls_port = free_port()
        lines = [f"listeners.tcp.default = 127.0.0.1:{self.port}"]
        if certificate:
            lines += [
                f"listeners.ssl.default = 127.0.0.1:{self.tls_port}",
                # An address that the certificate does not name.
                f"listeners.ssl.other = 127.0.0.2:{self.tls_port}",
                f"ssl_options.certfile = {certificate[0]}",
                f"ssl_options.keyfile = {certificate[1]}",
            ]
        (self._folder / "rabbitmq.conf").write_text("\n".join([*lines, ""]))
        self._environment = {
            **os.environ,
            "HOME": str(self._folder),
            "RABBITMQ_NODENAME": f"justlens-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            # Its schedulers would wait for work by turning in a circle, beside all that works.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none "
            f"-rabbit quorum_tick_interval {tick_ms}",
        }

    def __enter__(self) -> "Node":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, with the data that it had; returns when it answers."""
        output = self._folder / "output.log"
        with output.open("ab") as log:
            self._process = subprocess.Popen(
                [str(_program("rabbitmq-server"))],
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for(lambda: _answers(self.url), self._process, str(output))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it with a signal; SIGKILL is a power cut."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, how)
        self._process.wait(60)
        self._process = None

    def queues(self) -> dict[str, tuple[int, int]]:
        """How many messages of each queue wait, and how many are not acknowledged, a moment ago."""
        command = [str(_program("rabbitmqctl")), "--quiet", "--formatter=json", "list_queues"]
        listed = subprocess.run(
            [*command, "name", WAITING, HELD],
            env=self._environment,
            check=True,
            capture_output=True,
        )
        return {row["name"]: (row[WAITING], row[HELD]) for row in json.loads(listed.stdout)}


@cache
def _program(name: str) -> str | None:
    bare = PROGRAMS / name
    return str(bare) if bare.exists() else shutil.which(name)


def _control(*arguments: str) -> int:
    program = shutil.which("rabbitmqctl")
    if program is None:
        return 1
    return subprocess.run([program, "--quiet", *arguments], capture_output=True).returncode


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((str(parts.hostname), parts.port or 5672), timeout=1).close()
        with Connection(url, connect_timeout=2) as connection:
            connection.connect()
    except Exception:  # noqa: BLE001 - whatever is wrong, it does not answer
        return False
    return True
