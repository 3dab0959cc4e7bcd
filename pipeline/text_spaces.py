"""The spaces of text models: whose scores are served, and whose are kept up beside them.

Vectors and scores of different text models are never mixed: each retrained model has a space of its
own, named like it, beside the space of the model that the settings name. A challenger's space is
filled in the background, images that arrive meanwhile are written into every space, and a cut-over
changes one small value. The space before it stays, and is kept up, so that the way back is as
short.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from pipeline.errors import ConfigurationError
from pipeline.stores.documents import DocumentStore
from pipeline.stores.objects import ObjectStore

# The model that the settings name: its space is always kept up.
BASE = ""
TEXT_SPACES = "text_spaces"
# What `models.export.sentence_encoder` writes.
FILES = ("model.onnx", "tokenizer.json", "encoder.json")
# Fetched models that a machine keeps: what serves, served before and may serve next, and one more.
MOST_FETCHED = 4


class TextSpaces(BaseModel):
    """Names of spaces. ``serving`` answers; ``previous`` answered before it."""

    model_config = ConfigDict(frozen=True)

    serving: str = BASE
    previous: str | None = None
    challenger: str | None = None

    @property
    def retrained(self) -> tuple[str, ...]:
        """The spaces that are kept up beside that of the settings' model."""
        names = (self.serving, self.previous, self.challenger)
        return tuple(name for name in dict.fromkeys(names) if name)

    @property
    def version(self) -> int | None:
        """Of the model that serves, in the registry; none: the one of the settings."""
        return version_of(self.serving) if self.serving else None

    def challenged(self, name: str) -> "TextSpaces":
        """With a challenger, instead of any other."""
        if name in (self.serving, self.previous):
            raise ConfigurationError(f"{name} is not a challenger: it serves, or served before")
        return self.model_copy(update={"challenger": name})

    def unchallenged(self) -> "TextSpaces":
        """Without a challenger."""
        return self.model_copy(update={"challenger": None})

    def cut_over(self) -> "TextSpaces":
        """The challenger serves."""
        if self.challenger is None:
            raise ConfigurationError("there is no challenger; `justlens retrain reembed` makes one")
        return TextSpaces(serving=self.challenger, previous=self.serving)

    def rolled_back(self) -> "TextSpaces":
        """What served before serves again; what served is the challenger again."""
        if self.previous is None:
            raise ConfigurationError("nothing served before: there is no way back")
        return TextSpaces(serving=self.previous, challenger=self.serving)


def version_of(name: str) -> int:
    """The version in the registry of the model that a space is named like."""
    return int(name.removeprefix("text").partition(".")[0])


def text_spaces(documents: DocumentStore) -> TextSpaces:
    """The spaces in force."""
    return TextSpaces.model_validate(documents.value(TEXT_SPACES) or {})


def put_in_force(documents: DocumentStore, spaces: TextSpaces) -> None:
    """From now on; every process follows within seconds."""
    documents.save_value(TEXT_SPACES, spaces.model_dump())


def publish(objects: ObjectStore, folder: Path, version: int) -> str:
    """Put a model's files where every process finds them; again is harmless.

    Args:
        folder: made by ``models.export.sentence_encoder``.
        version: of the model in the registry.

    Returns:
        The name of the model and of its space, which no other model will ever have.
    """
    contents = {name: (folder / name).read_bytes() for name in FILES}
    name = _named(version, contents)
    for file, content in contents.items():
        key = _key(name, file)
        if objects.exists(key) and objects.get(key) != content:
            # Damaged: what is there would stay.
            objects.delete(key)
        objects.put(key, content)
    return name


def fetch(objects: ObjectStore, name: str, models: Path) -> Path:
    """The folder of a published model below ``models``; many processes may ask at once.

    Raises:
        ObjectMissing: it was never published here.
        ConfigurationError: what lies under its name is another model, or damaged.
    """
    folder = models / name
    if folder.is_dir():
        return folder
    models.mkdir(parents=True, exist_ok=True)
    with FileLock(str(models / f".{name}.lock")):
        if not folder.is_dir():
            started = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=models))
            try:
                contents = {file: objects.get(_key(name, file)) for file in FILES}
                if _named(version_of(name), contents) != name:
                    raise ConfigurationError(
                        f"what is published as {name} is not that model; "
                        "`justlens retrain reembed` publishes it again"
                    )
                for file, content in contents.items():
                    (started / file).write_bytes(content)
                started.chmod(0o755)
                started.rename(folder)
            finally:
                shutil.rmtree(started, ignore_errors=True)
            fetched = sorted(models.glob("text[0-9]*.*/"), key=lambda one: one.stat().st_mtime)
            for old in fetched[:-MOST_FETCHED]:
                shutil.rmtree(old, ignore_errors=True)
    return folder


def withdraw(objects: ObjectStore, name: str) -> None:
    """Remove a published model, if it is there."""
    for file in FILES:
        objects.delete(_key(name, file))


def _named(version: int, contents: Mapping[str, bytes]) -> str:
    """The name that a model's files have together."""
    digests = b"".join(hashlib.sha256(contents[file]).digest() for file in FILES)
    return f"text{version}.{hashlib.sha256(digests).hexdigest()[:12]}"


def _key(name: str, file: str) -> str:
    return f"models/{name}/{file}"
