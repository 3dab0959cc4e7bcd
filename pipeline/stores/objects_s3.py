"""The object store on S3: Amazon's, MinIO, or another server that speaks its protocol."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, unquote, urlsplit

import certifi
from minio import Minio
from minio.credentials import (
    AWSConfigProvider,
    ChainedProvider,
    Credentials,
    EnvAWSProvider,
    EnvMinioProvider,
    IamAwsProvider,
    Provider,
    StaticProvider,
)
from minio.datatypes import Object
from minio.error import MinioException, S3Error
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from pipeline.errors import ConfigurationError, DiskFull, ObjectMissing, StoreUnavailable
from pipeline.stores.objects import CACHE_CONTROL, KEY, ObjectStore, check_key, content_type_of

SETTING = "JUSTLENS_OBJECTS_URL"
FORM = (
    "s3://access:secret@host:port/bucket/prefix?region=… "
    "(s3+http:// without TLS; a / in the secret is %2F)"
)
OPTIONS = ("region", "public", "ssl_ca")
# What Amazon and MinIO take a bucket's region for, where none is named.
REGION = "us-east-1"
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
PREFIX = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*/)*")

PUBLIC = re.compile(r"|no|https?://[^/]+")

CONNECT_SECONDS = 3.0
READ_SECONDS = 30.0
# Connections kept; more threads than that open more for a while.
POOL_SIZE = 32
# With the pauses between them, a server that answers with errors is given up after some 3 s, and
# one that does not answer at all after the timeouts above, twice.
RETRIES = Retry(
    total=4,
    connect=1,
    # One for a broken answer, and one for a connection that the server closed while it was idle.
    read=2,
    backoff_factor=0.2,
    backoff_jitter=0.2,
    backoff_max=5.0,
    retry_after_max=5,
    status_forcelist=(429, 500, 502, 503, 504),
)
# Larger objects go up in parts of so many bytes, so that a broken connection costs one of them.
PART_SIZE = 8 * 1024 * 1024

# The longest that S3 allows. Addresses are signed for the beginning of the day (UTC), so that a
# browser is sent to the same one all day, and has the picture already.
SIGNED_FOR = timedelta(days=7)

FULL = frozenset({"XMinioStorageFull", "InsufficientCapacity", "QuotaExceeded"})
REFUSED = frozenset(
    {
        "AccessDenied",
        "AuthorizationHeaderMalformed",
        "BadRequest",
        "BucketAlreadyExists",
        "ExpiredToken",
        "IllegalLocationConstraintException",
        "InvalidAccessKeyId",
        "InvalidBucketName",
        "InvalidToken",
        "PermanentRedirect",
        "SignatureDoesNotMatch",
    }
)


@dataclass(frozen=True)
class Address:
    """What the address of an object store says; ``read`` gives its form."""

    is_secure: bool
    endpoint: str
    bucket: str
    prefix: str  # empty, or ends with a slash
    region: str
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    public: str = ""
    ssl_ca: str = ""

    @classmethod
    def read(cls, url: str) -> "Address":
        """Read ``s3://[access:secret@]host[:port]/bucket[/prefix]``, ``s3+http://`` without TLS.

        Options: ``region``; ``public``, where browsers find the server, if not at this address
        (``https://photos.example.com``), or ``no``, if nowhere: then the web application hands
        objects on; ``ssl_ca``, a file with the authorities to trust.

        Raises:
            ConfigurationError: it does not have that form; the message holds no keys.
        """
        try:
            parts = urlsplit(url)
            endpoint = parts.netloc.rpartition("@")[2]
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
            bucket, _, prefix = parts.path.strip("/").partition("/")
            keys = [unquote(part or "") for part in (parts.username, parts.password)]
        except ValueError:
            raise ConfigurationError(f"{SETTING} cannot be read; what works: {FORM}") from None
        address = cls(
            is_secure=parts.scheme == "s3",
            endpoint=endpoint,
            bucket=bucket,
            prefix=f"{prefix}/" if prefix else "",
            access_key=keys[0],
            secret_key=keys[1],
            region=options.get("region", ""),
            public=options.get("public", ""),
            ssl_ca=options.get("ssl_ca", ""),
        )
        for trouble, is_so in {
            "names no host": not endpoint,
            "names no bucket that S3 allows": not BUCKET.fullmatch(bucket),
            "has a prefix with other characters than letters, digits, - . _": not (
                PREFIX.fullmatch(address.prefix)
            ),
            "has one of the keys and not the other": bool(keys[0]) != bool(keys[1]),
            f"has options other than {', '.join(OPTIONS)}": not options.keys() <= {*OPTIONS},
            "names a file of authorities that is not there": (
                address.ssl_ca and not os.path.isfile(address.ssl_ca)
            ),
            "says public= and neither no nor https://host:port": (
                not PUBLIC.fullmatch(address.public)
            ),
        }.items():
            if is_so:
                raise ConfigurationError(f"{SETTING} {trouble}; what works: {FORM}")
        return address

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"s3://{self.endpoint}/{self.bucket}"

    @property
    def is_public(self) -> bool:
        """Whether browsers find the server."""
        return self.public != "no"

    @property
    def provider(self) -> Provider:
        """Where the keys come from."""
        if self.access_key:
            return StaticProvider(self.access_key, self.secret_key)
        return _Keys()

    def client(self, provider: Provider | None) -> Minio:
        """A client; it does not connect yet. Without keys it signs nothing."""
        return self._client(self.endpoint, self.is_secure, provider)

    def public_client(self, provider: Provider | None) -> Minio:
        """A client of the server as browsers see it."""
        if not self.public:
            return self.client(provider)
        seen = urlsplit(self.public)
        return self._client(seen.netloc, seen.scheme == "https", provider)

    def _client(self, endpoint: str, is_secure: bool, provider: Provider | None) -> Minio:
        http = PoolManager(
            timeout=Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            maxsize=POOL_SIZE,
            retries=RETRIES,
            cert_reqs="CERT_REQUIRED",
            ca_certs=self.ssl_ca or os.environ.get("SSL_CERT_FILE") or certifi.where(),
        )
        try:
            return Minio(
                endpoint,
                secure=is_secure,
                region=self.region or _region_of(endpoint) or REGION,
                http_client=http,
                credentials=provider,
            )
        except ValueError as error:
            raise ConfigurationError(f"{SETTING}: {error}; what works: {FORM}") from error


class S3Objects(ObjectStore):
    """Objects in a bucket, which ``prepare`` makes; who may read it is left to its owner.

    The keys of the address go before ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``,
    ``MINIO_ACCESS_KEY`` and ``MINIO_SECRET_KEY``, ``~/.aws/credentials`` and the role of the
    machine or the container.

    Parameters:
        url: see ``Address.read``.
        public_url: prefix of the addresses under which pages find objects.

    Raises:
        ConfigurationError: the address cannot work; methods, where the server refuses us or has no
            such bucket.
    """

    def __init__(self, url: str, public_url: str) -> None:
        self._address = Address.read(url)
        self._bucket = self._address.bucket
        self._public_url = public_url.rstrip("/")
        self._provider = self._address.provider
        # One for each process: connections of a parent must not be used, nor closed, by a child.
        self._clients: dict[int, Minio] = {}
        if self._address.is_public:
            self._signer = self._address.public_client(self._provider)
            unsigned = self._address.public_client(None).get_presigned_url(
                "GET", self._bucket, "any"
            )
            self.origin = "{0.scheme}://{0.netloc}".format(urlsplit(unsigned))

    def put(self, key: str, content: bytes) -> None:
        name = self._name(key)
        with self._store_errors():
            if self._is_there(name):
                return
            self._client().put_object(
                self._bucket,
                name,
                io.BytesIO(content),
                len(content),
                content_type=content_type_of(key),
                metadata={"Cache-Control": CACHE_CONTROL},
                part_size=PART_SIZE,
                # Threads of minio's own would multiply with those of the workers.
                num_parallel_uploads=1,
            )

    def get(self, key: str) -> bytes:
        name = self._name(key)
        with self._store_errors(key):
            response = self._client().get_object(self._bucket, name)
            try:
                return response.read()
            finally:
                response.close()
                response.release_conn()

    def exists(self, key: str) -> bool:
        name = self._name(key)
        with self._store_errors():
            return self._is_there(name)

    def stored_at(self, key: str) -> float | None:
        name = self._name(key)
        with self._store_errors():
            found = self._found(name)
        return found.last_modified.timestamp() if found and found.last_modified else None

    def delete(self, key: str) -> None:
        name = self._name(key)
        with self._store_errors():
            self._client().remove_object(self._bucket, name)

    def keys(self, prefix: str = "") -> Iterator[str]:
        if prefix:
            check_key(prefix.removesuffix("/"))
        own = self._address.prefix
        with self._store_errors():
            for found in self._client().list_objects(self._bucket, own + prefix, recursive=True):
                key = (found.object_name or "").removeprefix(own)
                if KEY.fullmatch(key):
                    yield key

    def url(self, key: str) -> str:
        return f"{self._public_url}/{check_key(key)}" if key else ""

    def direct_url(self, key: str, method: str = "GET") -> str:
        if not self._address.is_public:
            return ""
        return self._signer.get_presigned_url(
            method,
            self._bucket,
            self._name(key),
            expires=SIGNED_FOR,
            request_date=datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0),
        )

    def prepare(self) -> None:
        with self._store_errors():
            client = self._client()
            if not client.bucket_exists(self._bucket):
                try:
                    client.make_bucket(self._bucket)
                except S3Error as error:
                    if error.code != "BucketAlreadyOwnedByYou":
                        raise

    def version(self) -> str:
        return f"S3, the bucket {self._bucket}"

    def check(self) -> None:
        with self._store_errors():
            if not self._client().bucket_exists(self._bucket):
                raise ConfigurationError(self._no_bucket())

    def _name(self, key: str) -> str:
        return self._address.prefix + check_key(key)

    def _client(self) -> Minio:
        process = os.getpid()
        client = self._clients.get(process)
        return client or self._clients.setdefault(process, self._address.client(self._provider))

    def _is_there(self, name: str) -> bool:
        return self._found(name) is not None

    def _found(self, name: str) -> Object | None:
        """What the server says of an object; none: there is none."""
        try:
            return self._client().stat_object(self._bucket, name)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise

    def _no_bucket(self) -> str:
        return f"{self._address.name}: there is no such bucket, run `justlens setup`"

    @contextmanager
    def _store_errors(self, key: str = "") -> Iterator[None]:
        name = self._address.name
        try:
            yield
        except S3Error as error:
            if error.code == "NoSuchKey":
                raise ObjectMissing(f"no object {key}") from error
            if error.code == "NoSuchBucket":
                raise ConfigurationError(self._no_bucket()) from error
            if error.code in REFUSED:
                raise ConfigurationError(
                    f"{name}: {error.code}: {error.message}; correct the keys or the region in "
                    f"{SETTING}, or let the keys s3:ListBucket the bucket and s3:GetObject, "
                    "s3:PutObject, s3:DeleteObject what is in it"
                ) from error
            kind = DiskFull if error.code in FULL else StoreUnavailable
            raise kind(f"{name}: {error.code}: {error.message}") from error
        except (MinioException, HTTPError, OSError) as error:
            raise StoreUnavailable(f"{name}: {error}") from error


class _Keys(Provider):
    """The keys that are around: of the environment, of a file, of the role of the machine."""

    def __init__(self) -> None:
        # Away from a cloud the machine has no role, and nobody answers for it.
        impatient = PoolManager(timeout=Timeout(connect=1.0, read=5.0), retries=Retry(1))
        self._chain = ChainedProvider(
            [
                EnvAWSProvider(),
                EnvMinioProvider(),
                AWSConfigProvider(),
                IamAwsProvider(http_client=impatient),
            ]
        )
        self._found = False

    def retrieve(self) -> Credentials:
        try:
            keys = self._chain.retrieve()
        except (ValueError, HTTPError, OSError) as error:
            if self._found:
                raise StoreUnavailable(f"no new keys of the object store yet: {error}") from error
            raise ConfigurationError(
                f"no keys of the object store: neither in {SETTING}, nor AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, nor a role of this machine"
            ) from error
        self._found = True
        return keys


def _region_of(endpoint: str) -> str:
    """The region in the name of one of Amazon's hosts: ``s3.eu-west-1.amazonaws.com``."""
    match = re.match(r"s3[.-]([a-z]+(?:-[a-z]+)+-\d)\.amazonaws\.com", endpoint)
    return match[1] if match else ""
