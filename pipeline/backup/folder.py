"""A back-up as a folder of files.

``manifest.json`` comes last and at once, so that a folder holds a whole back-up or none: that of
before stands until the next one is whole. Beside it lie ``rows/ID/PART.jsonl.gz``, a row a line,
``rows/ID/objects.jsonl.gz``, which names the objects in the order of their keys, and the objects
under their keys in ``objects/``. What lies under a key never changes: objects that the back-up of
before has are not read again.
"""

import gzip
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.backup.carrying import OBJECTS, Step
from pipeline.backup.parts import Source
from pipeline.consistency import differences
from pipeline.errors import BackUpDamaged, ConfigurationError, ObjectMissing
from pipeline.stores.objects_folder import FolderObjects
from pipeline.stores.portable import Row

# Of the folder; another release may read what an earlier one wrote, not the other way about.
FORM = 1
MANIFEST, ROWS, LOCK = "manifest.json", "rows", ".lock"


class File(BaseModel):
    """A file of rows.

    Attributes:
        rows: how many lines it has.
        sha256: of the file as it lies there.
    """

    rows: int
    sha256: str


class Manifest(BaseModel):
    """What a back-up consists of."""

    model_config = ConfigDict(frozen=True)

    form: int
    id: str
    release: str = Field(description="Of JustLens, which wrote it.")
    made_at: float = Field(description="Unix time at which it was begun.")
    ended_at: float
    files: dict[str, File] = Field(description="By part; the last names the objects.")
    object_bytes: int = Field(description="Of all objects together.")


class BackUp:
    """A back-up that is whole, as a source of what it holds.

    Raises:
        BackUpDamaged: it is none, or is of a later release, or a file of rows has changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.id = self.manifest.id
        self._objects = _objects(folder)

    def check(self) -> None:
        """Read every file of rows.

        Raises:
            BackUpDamaged: one is not there, or is not as it was written.
        """
        for part, known in self.manifest.files.items():
            path = self._path(part)
            if not path.is_file():
                raise BackUpDamaged(f"{path} is not there; what works: another copy of the back-up")
            if _digest(path) != known.sha256:
                raise _changed(path)

    def rows(self, part: str) -> Iterator[Row]:
        """All rows of a part; none, where the release that wrote it did not know that part."""
        if part not in self.manifest.files:
            return
        with gzip.open(self._path(part), "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)

    def objects(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """The keys of all objects, each with what reads it."""
        for row in self.rows(OBJECTS):
            yield row["key"], partial(self._read, row["key"], row["sha256"])

    def _read(self, key: str, sha256: str) -> bytes:
        path = self.folder / OBJECTS / key
        try:
            content = self._objects.get(key)
        except ObjectMissing:
            raise BackUpDamaged(f"{path} is not there") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise _changed(path)
        return content

    def _path(self, part: str) -> Path:
        return self.folder / ROWS / self.id / f"{part}.jsonl.gz"


def back_up(
    source: Source, parts: Iterable[str], folder: Path, step: Step = lambda _part, _count: None
) -> Manifest:
    """Write a back-up, or bring the one in the folder up to date; returns what it consists of.

    Raises:
        ConfigurationError: the folder holds something else, or another process writes there.
        BackUpDamaged: its manifest cannot be read.
    """
    _check_place(folder)
    with _alone(folder):
        return _back_up(source, parts, folder, step)


def _back_up(source: Source, parts: Iterable[str], folder: Path, step: Step) -> Manifest:
    began = time.time()
    earlier = BackUp(folder) if (folder / MANIFEST).exists() else None
    new = uuid.uuid4().hex
    rows_folder = folder / ROWS / new
    rows_folder.mkdir(parents=True)
    files = {}
    for part in parts:
        files[part] = _write(rows_folder, part, source.rows(part), step)
    copied = _Copied(source, earlier, _objects(folder))
    files[OBJECTS] = _write(rows_folder, OBJECTS, iter(copied), step)
    manifest = Manifest(
        form=FORM,
        id=new,
        release=version("justlens"),
        made_at=began,
        ended_at=time.time(),
        files=files,
        object_bytes=copied.bytes,
    )
    _sync(rows_folder)
    _sync(rows_folder.parent)
    _write_manifest(folder, manifest)
    _clear(folder, manifest)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """What the back-up in a folder consists of.

    Raises:
        BackUpDamaged: there is no whole back-up, or a later release wrote it.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise BackUpDamaged(
            f"{folder} holds no whole back-up: {path} is not there. It is written last: where a "
            "back-up was cut off, the same `justlens backup` again makes it whole"
        ) from None
    except (OSError, ValidationError) as error:
        raise BackUpDamaged(f"{path} cannot be read: {error}") from error
    if manifest.form > FORM:
        raise BackUpDamaged(
            f"{folder} was written by JustLens {manifest.release}; what works: to restore it with "
            "that release or a later one"
        )
    return manifest


def _check_place(folder: Path) -> None:
    # Hashes of keys and what people searched for are nobody else's to read.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = {path.name for path in folder.iterdir()} - {LOCK}
    ours = {MANIFEST, f"{MANIFEST}.part", ROWS, OBJECTS}
    # The rows come first: a folder of objects without them is somebody else's.
    if others := names - ours if ROWS in names else names:
        raise ConfigurationError(
            f"{folder} holds other files ({', '.join(sorted(others)[:3])}); what works: an empty "
            "folder, or one with an earlier back-up"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Each clears away what is not its own."""
    try:
        with FileLock(str(folder / LOCK), timeout=0):
            yield
    except Timeout:
        raise ConfigurationError(
            f"another back-up is being written to {folder}; what works: to wait for its end"
        ) from None


class _Copied:
    """Objects are copied as they are gone through; each is told with its size and its hash.

    Attributes:
        bytes: how large they are together, so far.
    """

    def __init__(self, source: Source, earlier: BackUp | None, objects: FolderObjects) -> None:
        self.bytes = 0
        self._source = source
        self._objects = objects
        # Both lists are in the order of the keys, so that neither is ever held.
        self._earlier = earlier.rows(OBJECTS) if earlier else iter(())
        self._before: Row | None = next(self._earlier, None)

    def __iter__(self) -> Iterator[Row]:
        for key, read in self._source.objects():
            try:
                row = self._known(key) or self._copy(key, read)
            except ObjectMissing:
                # Its photo was replaced or forgotten a moment ago.
                continue
            self.bytes += row["size"]
            yield row

    def _known(self, key: str) -> Row | None:
        while self._before is not None and self._before["key"] < key:
            self._before = next(self._earlier, None)
        is_known = self._before is not None and self._before["key"] == key
        return self._before if is_known and self._objects.exists(key) else None

    def _copy(self, key: str, read: Callable[[], bytes]) -> Row:
        content = read()
        self._objects.put(key, content)
        digest = hashlib.sha256(content).hexdigest()
        return {"key": key, "size": len(content), "sha256": digest}


def _write(folder: Path, part: str, rows: Iterator[Row], step: Step) -> File:
    path = folder / f"{part}.jsonl.gz"
    count = 0
    with path.open("xb") as file:
        # Without the time in it the same rows are the same bytes.
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            for row in rows:
                count += 1
                packed.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")
                step(part, 1)
        file.flush()
        os.fsync(file.fileno())
    return File(rows=count, sha256=_digest(path))


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    path = folder / f"{MANIFEST}.part"
    with path.open("w", encoding="utf-8") as file:
        file.write(manifest.model_dump_json(indent=2))
        file.flush()
        os.fsync(file.fileno())
    path.replace(folder / MANIFEST)
    _sync(folder)


def _clear(folder: Path, manifest: Manifest) -> None:
    """Remove what only earlier back-ups had: what was forgotten is to be gone here, too."""
    for path in (folder / ROWS).iterdir():
        if path.name != manifest.id:
            shutil.rmtree(path)
    objects = _objects(folder)
    listed = (row["key"] for row in BackUp(folder).rows(OBJECTS))
    for key, is_stored in differences(objects.keys(), listed):
        if is_stored:
            objects.delete(key)


def _objects(folder: Path) -> FolderObjects:
    return FolderObjects(f"file://{quote(str((folder / OBJECTS).absolute()))}", "")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _changed(path: Path) -> BackUpDamaged:
    return BackUpDamaged(
        f"{path} is damaged: it is not what was written; what works: another copy of the file"
    )


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
