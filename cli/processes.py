"""The processes of a running system, kept up by circus.

Circus starts each of them, starts it again when it ends, and ends it gracefully. Their output goes
to files that outlive the supervisor.
"""

import contextlib
import itertools
import json
import logging
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from filelock import FileLock, Timeout
from pydantic import SecretStr

from cli.setup import steps
from pipeline.api_keys import Scope, make_key
from pipeline.broker import EmbeddedBroker, run_directory
from pipeline.errors import ConfigurationError
from pipeline.queues import CPU_QUEUES, GPU_QUEUES, IO_QUEUES
from pipeline.settings import Settings, settings
from pipeline.stores import open_stores

log = logging.getLogger(__name__)

GRACE = 30.0
START_LIMIT = 120.0
POLL = 0.1
METRICS_PORT = "JUSTLENS_METRICS_PORT"


@dataclass(frozen=True)
class Process:
    """One program of the system."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def processes(settings: Settings, *, port: int, flower: str = "") -> list[Process]:
    """All programs that run beside the broker: two workers, beat, the web applications.

    Args:
        port: of the web applications.
        flower: ``user:password`` of Flower's basic authentication; empty: no Flower.
    """
    ports = itertools.count(settings.metrics_port or port + 1)
    python = sys.executable
    celery = [python, "-m", "celery", "-A", "tasks"]
    computing = max(1, (os.cpu_count() or 1) // 2)

    def worker(name: str, queues: tuple[str, ...]) -> Process:
        command = [*celery, "worker", "--loglevel", "INFO", "-n", f"{name}@{socket.gethostname()}"]
        environment = {**threads(computing), METRICS_PORT: str(next(ports))}
        return Process(f"worker-{name}", [*command, "-Q", ",".join(queues)], environment)

    system = [
        *(worker(name, queues) for name, queues in pools(settings).items()),
        Process("beat", [*celery, "beat", "--loglevel", "INFO"], threads(1)),
        web(settings, "api.main:app", port),
    ]
    if flower:
        password = {"JUSTLENS_FLOWER_AUTH": flower}
        system.append(Process("flower", [python, "-m", "cli.flower"], password))
    return system


def web(settings: Settings, application: str, port: int) -> Process:
    """A web application, in as many processes as the settings say.

    Args:
        application: module and name of it.
        port: that it listens on.
    """
    address = ["--host", settings.api_host, "--port", str(port), "--no-access-log"]
    command = [sys.executable, "-m", "uvicorn", application, *address]
    environment = threads(1)
    if settings.api_processes > 1:
        command += ["--workers", str(settings.api_processes)]
        # Where each notes its figures, for any of them may be asked for all. Those of processes
        # that are gone would be added to the new ones'.
        figures = settings.data_dir / "figures" / application
        shutil.rmtree(figures, ignore_errors=True)
        figures.mkdir(parents=True)
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(figures)
    return Process("api", command, environment)


def pools(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The queues of each worker process, by its name.

    Without servers there is no describer to wait for, and a process less saves its memory.
    """
    if EmbeddedBroker.is_at(settings.broker_url, settings):
        return {"gpu": GPU_QUEUES, "cpu": (*CPU_QUEUES, *IO_QUEUES)}
    return {"gpu": GPU_QUEUES, "cpu": CPU_QUEUES, "io": IO_QUEUES}


def threads(count: int) -> dict[str, str]:
    """Compute threads of a process, set before any library is imported."""
    names = ("JUSTLENS_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    # By itself glibc keeps freed memory in an arena for each thread, which many slots multiply.
    return {**dict.fromkeys(names, str(count)), "MALLOC_ARENA_MAX": "2"}


def free_port(host: str) -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class System:
    """A running system: broker, workers, beat and web applications of one data folder.

    Args:
        settings: of the whole system; they are handed on through the environment.
        port: of the web applications.
        flower: ``user:password``, or empty.

    Raises:
        ConfigurationError: the data folder is in use, or the port is.
    """

    def __init__(self, settings: Settings, *, port: int, flower: str = "") -> None:
        self.settings = settings
        self.port = port
        self.address = f"http://{settings.api_host}:{port}"
        self._flower = flower
        self._run = run_directory(settings)
        self._logs = settings.data_dir / "logs"
        self._supervised: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self) -> Iterator["System"]:
        """Everything is up inside the block and ended after it."""
        lock = FileLock(self._run / "up.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            folder = self.settings.data_dir
            raise ConfigurationError(f"another `justlens up` runs in {folder}") from error
        with lock, contextlib.ExitStack() as stack:
            self._end_leftovers()
            self._check_port()
            broker = EmbeddedBroker(self.settings)
            embedded = EmbeddedBroker.wanted(self.settings)
            if embedded:
                # One left over by a worker that was started by hand is not ours to keep up.
                broker.stop()
                broker.prepare()
            sockets = tempfile.mkdtemp(prefix="justlens-")
            stack.callback(shutil.rmtree, sockets, ignore_errors=True)
            self._prepare()
            watchers = []
            if embedded:
                watchers.append(self._watcher(Process("broker", broker.command()), priority=9))
            for process in processes(self.settings, port=self.port, flower=self._flower):
                watchers.append(self._watcher(process, priority=1))
            plan = {"watchers": watchers, "sockets": sockets}
            supervisor = stack.enter_context(self._supervisor(plan))
            self._note(supervisor)
            self._wait_until(self.ready, "the web applications", supervisor)
            self._note(supervisor)
            self._supervised = supervisor
            yield self

    @contextmanager
    def _supervisor(self, plan: Mapping[str, object]) -> Iterator[subprocess.Popen[bytes]]:
        path = self._run / "watchers.json"
        # The environment in it holds passwords.
        path.touch(0o600)
        path.write_text(json.dumps(plan))
        with (self._logs / "supervisor.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "cli.supervise", str(path)],
                # Open for as long as we live: its end tells the supervisor to stop.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for us; we tell the supervisor, and it tells the others.
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(2 * GRACE)
            except subprocess.TimeoutExpired:
                self._end_leftovers()

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """Asks the web applications for pages; with a key of its own where everybody needs one."""
        headers = {}
        with contextlib.ExitStack() as stack:
            if self.settings.open_to == "nobody":
                text, key = make_key("justlens on this machine", [Scope.READ])
                stores = open_stores(self.settings)
                stack.callback(stores.close)
                stores.keys.save(key)
                stack.callback(stores.keys.revoke, key.key_id)
                headers["Authorization"] = f"Bearer {text}"
            yield stack.enter_context(
                httpx.Client(base_url=self.address, headers=headers, timeout=60)
            )

    @property
    def figures(self) -> dict[str, str]:
        """Where each process tells Prometheus its figures."""
        host = self.settings.metrics_host
        workers = {
            process.name: f"http://{host}:{process.environment[METRICS_PORT]}/metrics"
            for process in processes(self.settings, port=self.port)
            if METRICS_PORT in process.environment
        }
        return {"api": f"{self.address}/metrics", **workers}

    @property
    def is_up(self) -> bool:
        """Whether the supervisor still runs."""
        return self._supervised is not None and self._supervised.poll() is None

    def ready(self) -> bool:
        """Whether the web applications answer and reach all they depend on."""
        try:
            return httpx.get(f"{self.address}/ready", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def _watcher(self, process: Process, priority: int) -> dict[str, object]:
        self._logs.mkdir(parents=True, exist_ok=True)
        output = shlex.quote(str(self._logs / f"{process.name}.log"))
        # The shell only redirects and is replaced by the program: output goes to a file, not to a
        # pipe, which would break with the supervisor.
        script = f"exec {shlex.join(process.command)} >>{output} 2>&1"
        return {
            "name": process.name,
            "cmd": "/bin/sh",
            "args": ["-c", script],
            "env": {**os.environ, **_environment(self.settings), **process.environment},
            "priority": priority,
            "graceful_timeout": GRACE,
            "max_retry": -1,
            "copy_env": False,
        }

    def _prepare(self) -> None:
        """Make what the servers need, before anything of ours asks them for it."""
        for _, step in steps(self.settings):
            step()

    def _wait_until(
        self, condition: Callable[[], bool], what: str, supervisor: subprocess.Popen[bytes]
    ) -> None:
        until = time.monotonic() + START_LIMIT
        while not condition():
            if time.monotonic() > until or supervisor.poll() is not None:
                raise ConfigurationError(f"{what} did not come up, see {self._logs}")
            time.sleep(POLL)

    def _check_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.settings.api_host, self.port))
            except OSError as error:
                raise ConfigurationError(
                    f"port {self.port} is taken: choose another with --port, or 0 for a free one"
                ) from error

    def _note(self, supervisor: subprocess.Popen[bytes]) -> None:
        """Write down which processes are ours, the supervisor first, for a start after a kill."""
        known = []
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(supervisor.pid)
            known = [(p.pid, p.create_time()) for p in [process, *process.children(recursive=True)]]
        (self._run / "processes.json").write_text(json.dumps(known))

    def _end_leftovers(self) -> None:
        """End what a killed supervisor left running in this folder."""
        noted = self._run / "processes.json"
        if not noted.exists():
            return
        left = []
        for pid, created in json.loads(noted.read_text()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if abs(process.create_time() - created) < 1:
                    process.terminate()
                    left.append(process)
        _, alive = psutil.wait_procs(left, timeout=GRACE)
        for process in alive:
            process.kill()
        noted.unlink(missing_ok=True)


@contextmanager
def data_folder(folder: Path) -> Iterator[Settings]:
    """The settings with another data folder, for this process and those it starts."""
    before = os.environ.get("JUSTLENS_DATA_DIR")
    os.environ["JUSTLENS_DATA_DIR"] = str(folder.absolute())
    settings.cache_clear()
    try:
        yield settings()
    finally:
        if before is None:
            del os.environ["JUSTLENS_DATA_DIR"]
        else:
            os.environ["JUSTLENS_DATA_DIR"] = before
        settings.cache_clear()


def _environment(settings: Settings) -> dict[str, str]:
    """The settings as the environment of a process; paths absolute, whatever its folder."""
    chosen = settings.model_dump(exclude={"threads"})
    given = {name: value for name, value in chosen.items() if value is not None}
    return {f"JUSTLENS_{name.upper()}": _text(value) for name, value in given.items()}


def _text(value: object) -> str:
    if isinstance(value, SecretStr):  # by itself it turns into asterisks
        return value.get_secret_value()
    if isinstance(value, frozenset):
        return ",".join(sorted(map(str, value)))
    return str(value)
