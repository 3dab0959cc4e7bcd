"""The object store: originals and enhanced versions under content-addressed names."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator

from pipeline.errors import ObjectMissing

# `=` and `-` are of the folders of partitioned data: `date=2026-11-26`.
KEY = re.compile(r"[a-z0-9][a-z0-9.=-]*(/[a-z0-9][a-z0-9.=-]*)*")
# What pages show. Nothing else that lies here is anybody's to read.
PUBLIC_FOLDERS = ("enhanced/", "originals/")
KEY_LENGTH = 1024
EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/tiff": "tif",
    "image/bmp": "bmp",
}
CONTENT_TYPES = {extension: content_type for content_type, extension in EXTENSIONS.items()}
UNKNOWN_TYPE = "application/octet-stream"
# The name is the content's hash: what lies under it never changes.
CACHE_CONTROL = "public, max-age=31536000, immutable"


def object_key(folder: str, sha256: str, content_type: str) -> str:
    """``originals/ab/abcdef….jpg``: two hash digits spread the files over folders."""
    return f"{folder}/{sha256[:2]}/{sha256}.{EXTENSIONS.get(content_type, 'bin')}"


def content_type_of(key: str) -> str:
    """The content type that a key's ending stands for."""
    return CONTENT_TYPES.get(key.rsplit(".", 1)[-1], UNKNOWN_TYPE)


def is_key(key: str) -> bool:
    """Whether an object can lie under it."""
    return len(key) <= KEY_LENGTH and KEY.fullmatch(key) is not None


def check_key(key: str) -> str:
    """The key.

    Raises:
        ValueError: no object can lie under it.
    """
    if not is_key(key):
        raise ValueError(f"not a key of the object store: {key!r}")
    return key


def check_public_key(key: str) -> str:
    """The key.

    Raises:
        ObjectMissing: no object that pages may show can lie under it.
    """
    if not key.startswith(PUBLIC_FOLDERS) or not is_key(key):
        raise ObjectMissing(f"no object {key}")
    return key


class ObjectStore(ABC):
    """S3's part. Keys are relative, of ``[a-z0-9/.=-]``. May raise ``StoreUnavailable``."""

    # The origin of the addresses of ``direct_url``: pages have to allow pictures from there.
    origin = ""

    @abstractmethod
    def put(self, key: str, content: bytes) -> None:
        """Store bytes durably; an object already there stays as it is (same name, same bytes)."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The bytes.

        Raises:
            ObjectMissing: there is no such object.
        """

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether the object is there."""

    @abstractmethod
    def stored_at(self, key: str) -> float | None:
        """When it was put there (Unix time, by the store's clock); none: it is not there."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove it, if there."""

    @abstractmethod
    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that begin with ``prefix``, in the order of their bytes, read in pages."""

    @abstractmethod
    def url(self, key: str) -> str:
        """The address under which pages find the object; empty for an empty key."""

    def direct_url(self, key: str, method: str = "GET") -> str:
        """An address at which the store itself answers one method for a while; empty: it has none.

        Made without asking the store, so that a redirect costs nothing.
        """
        return ""

    def prepare(self) -> None:  # noqa: B027 - what is embedded prepares itself
        """Make what the store needs on its server; safe to repeat, and to run beside others."""

    @abstractmethod
    def version(self) -> str:
        """What serves it, and in which version; for people."""

    @abstractmethod
    def check(self) -> None:
        """Raise ``StoreUnavailable`` unless the store answers."""
