"""Triton: the server itself, with stand-ins for its models.

It comes in the wheel of nvidia-pytriton, which carries the Python backend and needs no GPU. What
stands in for the vision-language models has their names, inputs and outputs, and answers what a
picture says (see ``pictures``).
"""

import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from models.describer_vision import jpeg
from models.triton_models import OUTPUT, LlamaVision
from tests.services.servers import free_port, wait_for
from tests.services.servers.triton.pictures import picture

HERE = Path(__file__).parent
# Where `make install` puts it; see requirements.txt.
ENVIRONMENT = Path(sys.prefix) / "triton"
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES = ENVIRONMENT / "lib" / VERSION / "site-packages"
KNOWN = 1


class Server:
    """A server that can be killed and started again at its address.

    Args:
        folder: shared by servers whose journal is one.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"triton-{secrets.token_hex(4)}"
        self.address = f"127.0.0.1:{free_port()}"
        self._shared = folder
        self._folder = folder / self.name
        self._process: subprocess.Popen[bytes] | None = None
        _lay_out(self._folder)

    def start(self) -> None:
        """Start it, and wait until it answers as it should."""
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command(), env=self._environment(), stdout=output, stderr=output
            )
        wait_for(self.answers, self._process, str(log))

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it gracefully, if it runs."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def drop(self, model: str) -> None:
        """Serve this model no longer."""
        with InferenceServerClient(self.address) as client:
            client.unload_model(model)
            until = time.monotonic() + 10
            while client.is_model_ready(model) and time.monotonic() < until:
                time.sleep(0.02)

    def load(self, model: str) -> None:
        """Serve it again."""
        with InferenceServerClient(self.address) as client:
            client.load_model(model)

    def take(self, seconds: float) -> None:
        """Let every answer of this server take so long from now on."""
        self._tell("delay", str(seconds))

    def fail(self, words: str) -> None:
        """Let this server fail at every picture with these words from now on; empty: no longer."""
        self._tell("fault", words)

    def _tell(self, what: str, words: str) -> None:
        file = self._shared / f"{self.name}.{what}"
        file.with_suffix(".new").write_text(words)
        file.with_suffix(".new").replace(file)

    def answered(self) -> list[int]:
        """Numbers of the pictures that this server was asked about, in order."""
        return [number for server, number in journal(self._shared) if server == self.name]

    def answers(self) -> bool:
        """Whether a known picture gets its answer.

        With another interpreter than its own the backend answers with empty tensors, and no error.
        """
        model = LlamaVision()
        inputs = model.inputs("", jpeg(picture(KNOWN)), 16)
        with InferenceServerClient(self.address) as client, suppress(InferenceServerException):
            found = client.infer(model.name, inputs, client_timeout=5).as_numpy(OUTPUT)
            return found is not None and f"number {KNOWN}" in found.reshape(-1)[0].decode()
        return False

    def _command(self) -> list[str | Path]:
        return [
            self._folder / "server" / "bin" / "tritonserver",
            f"--model-repository={self._folder / 'models'}",
            f"--backend-directory={self._folder / 'server' / 'backends'}",
            f"--grpc-port={self.address.rpartition(':')[2]}",
            "--grpc-address=127.0.0.1",
            "--allow-http=false",
            "--allow-metrics=false",
            "--exit-timeout-secs=3",
            # Models can be taken away and given back.
            "--model-control-mode=explicit",
            "--load-model=*",
            # The place where instances put tensors for the server is one for all processes.
            f"--backend-config=python,shm-region-prefix-name={self.name}",
        ]

    def _environment(self) -> dict[str, str]:
        # The interpreter's own library comes before one of the system's, which may be another.
        libraries = (PACKAGES / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR"))
        return {
            **os.environ,
            # The backend takes the first interpreter for its own.
            "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": ":".join(str(path) for path in libraries),
            "STAND_IN": str(self._shared),
            "STAND_IN_NAME": self.name,
        }


@contextmanager
def running(folder: Path, count: int = 1) -> Iterator[list[Server]]:
    """Servers that answer."""
    if not (PACKAGES / "pytriton").exists():
        pytest.skip(f"Triton is not in {ENVIRONMENT}, where `make install` puts it")
    servers = [Server(folder) for _ in range(count)]
    try:
        for server in servers:
            server.start()
        (folder / "journal").unlink()
        yield servers
    finally:
        for server in servers:
            server.stop()


def journal(folder: Path) -> list[tuple[str, int]]:
    """(server, number) of every request in order."""
    file = folder / "journal"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(server, int(number)) for server, number, _ in map(str.split, lines)]


def _lay_out(folder: Path) -> None:
    """The server with the stub of this interpreter's version, and the models, in a folder."""
    carried = PACKAGES / "pytriton" / "tritonserver"
    for part in ("bin", "backends"):
        shutil.copytree(carried / part, folder / "server" / part)
    stub = (
        carried
        / "python_backend_stubs"
        / VERSION.removeprefix("python")
        / "triton_python_backend_stub"
    )
    shutil.copy(stub, folder / "server" / "backends" / "python")
    shutil.copytree(HERE / "models", folder / "models")
    for model in (folder / "models").iterdir():
        for shared in ("stand_in.py", "pictures.py"):
            shutil.copy(HERE / shared, model / "1")
