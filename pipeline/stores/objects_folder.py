"""The object store in a local folder."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.errors import DiskFull, ObjectMissing, StoreUnavailable
from pipeline.stores.objects import KEY, ObjectStore, check_key

# Begins with what no key begins with, and lies in the same file system as the objects.
INCOMING = "_incoming"


class FolderObjects(ObjectStore):
    """Objects as files under a folder. A file is whole or absent, and on the disk after ``put``.

    Parameters:
        url: ``file://`` and the absolute path of the folder.
        public_url: prefix of the addresses under which pages find objects.
    """

    def __init__(self, url: str, public_url: str) -> None:
        self.root = Path(unquote(urlsplit(url).path))
        self._public_url = public_url.rstrip("/")

    def put(self, key: str, content: bytes) -> None:
        path = self._path(key)
        with _store_errors():
            if path.exists():
                return
            incoming = self.root / INCOMING
            _make_folder(incoming)
            _make_folder(path.parent)
            temporary = incoming / uuid.uuid4().hex
            try:
                _write(temporary, content)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(path.parent)

    def get(self, key: str) -> bytes:
        with _store_errors():
            try:
                return self._path(key).read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise ObjectMissing(f"no object {key}") from error

    def exists(self, key: str) -> bool:
        with _store_errors():
            return self._path(key).is_file()

    def stored_at(self, key: str) -> float | None:
        with _store_errors():
            try:
                return self._path(key).stat().st_mtime
            except (FileNotFoundError, NotADirectoryError):
                return None

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _store_errors():
            path.unlink(missing_ok=True)

    def keys(self, prefix: str = "") -> Iterator[str]:
        if prefix:
            check_key(prefix.removesuffix("/"))
        folder = prefix.rpartition("/")[0]
        with _store_errors():
            yield from (key for key in self._walk(folder) if key.startswith(prefix))

    def url(self, key: str) -> str:
        return f"{self._public_url}/{check_key(key)}" if key else ""

    def version(self) -> str:
        return f"the folder {self.root}"

    def check(self) -> None:
        with _store_errors():
            _make_folder(self.root / INCOMING)
            if not os.access(self.root / INCOMING, os.W_OK | os.X_OK):
                raise StoreUnavailable(f"{self.root} cannot be written to")

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _walk(self, folder: str) -> Iterator[str]:
        try:
            with os.scandir(self.root / folder) as entries:
                # With its slash a folder takes its place among the keys, not among the names.
                names = sorted(
                    f"{entry.name}/" if entry.is_dir() else entry.name
                    for entry in entries
                    if KEY.fullmatch(entry.name)
                )
        except FileNotFoundError:
            return
        for name in names:
            key = f"{folder}/{name}" if folder else name
            if key.endswith("/"):
                yield from self._walk(key.removesuffix("/"))
            else:
                yield key


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each durable in the one that holds it."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = DiskFull if error.errno in DiskFull.numbers else StoreUnavailable
        raise kind(f"object folder: {error}") from error
