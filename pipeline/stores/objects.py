"""The object store: originals and enhanced versions under content-addressed names."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

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


class ObjectStore(ABC):
    """S3's part. Keys are relative, of ``[a-z0-9/.]``. May raise ``StoreUnavailable``."""

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
    def delete(self, key: str) -> None:
        """Remove it, if there."""

    @abstractmethod
    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that begin with ``prefix``, in order."""

    @abstractmethod
    def url(self, key: str) -> str:
        """The address under which pages find the object; empty for an empty key."""

    def prepare(self) -> None:  # noqa: B027 - what is embedded prepares itself
        """Make what the store needs on its server; safe to repeat, and to run beside others."""

    @abstractmethod
    def check(self) -> None:
        """Raise ``StoreUnavailable`` unless the store answers."""
