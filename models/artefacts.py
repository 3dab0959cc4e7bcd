"""Where converted and exported weights lie, and how they come to be there.

The installed packages carry weights in the formats of their frameworks. They are converted once,
by `models.export` in a process of its own, so that torch never enters a process that only needs
ONNX Runtime. An artefact is a folder, complete from the moment it exists.
"""

import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from models.errors import WeightsMissing

VERSIONS: dict[str, int] = {
    "minilm": 3,
    "static": 1,
    "efficientnet-lite0": 2,
    "compact": 1,
    "x4plus": 1,
    "x4plus_anime": 1,
    "ssdlite-people": 1,
}
"""Raised with every change of the exporter that changes an artefact, so that no file made by an
older one is taken for a new one."""

EXPORT_TIMEOUT_S = 900


def default_weights() -> Path:
    """The folder named by JUSTLENS_MODEL_DIR, else `~/.cache/justlens/models`."""
    named = os.environ.get("JUSTLENS_MODEL_DIR")
    return Path(named) if named else Path.home() / ".cache" / "justlens" / "models"


def folder(weights: Path, name: str) -> Path:
    """Where the artefact `name` lies below `weights`, whether it exists or not."""
    return Path(weights) / f"{name}-v{VERSIONS[name]}"


def folder_of(weights: Path, identity: str) -> Path:
    """Where the artefact of a model lies that is named by an operator and not listed here."""
    safe = "".join(sign if sign.isalnum() or sign in "-_.@" else "_" for sign in identity)
    return Path(weights) / f"{safe[:64]}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def ensure(weights: Path, name: str) -> Path:
    """Returns the folder of an artefact, and has it made if it is absent.

    Raises `WeightsMissing`, with the end of the exporter's output and what to do.
    """
    return ensure_made(folder(weights, name), "models.export", [name])


def ensure_made(made: Path, exporter: str, arguments: Sequence[str]) -> Path:
    """Returns the folder `made`, and has an exporter's module make it if it is absent.

    Many processes may ask at once: the exporter works under a file lock, and whoever comes second
    finds the first one's work.

    Raises `WeightsMissing`, with the end of the exporter's output and what to do.
    """
    if made.is_dir():
        return made
    command = [sys.executable, "-m", exporter, *arguments, "--to", str(made.parent)]
    root = str(Path(__file__).resolve().parent.parent)
    python_path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": python_path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=EXPORT_TIMEOUT_S,
            check=False,
        )
        output, failed = done.stdout, done.returncode != 0
    except subprocess.TimeoutExpired:
        output, failed = f"no result within {EXPORT_TIMEOUT_S} s", True
    except OSError as error:
        output, failed = str(error), True
    if failed or not made.is_dir():
        tail = "\n".join(output.strip().splitlines()[-8:])
        raise WeightsMissing(
            f"the artefact {made.name!r} is not in {made.parent} and could not be made there. "
            f"Run `{shlex.join(command)}` in the project folder with its environment to see why; "
            f"JUSTLENS_MODEL_DIR names another folder. Its output ended with:\n{tail}"
        )
    return made
