"""A MongoDB server that threads share and that survives a fork: connections, defaults, errors."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import dns.exception
import dns.resolver
import mongoengine
from mongoengine import Document
from pymongo import ReadPreference, errors
from pymongo.collection import Collection
from pymongo.driver_info import DriverInfo
from pymongo.uri_parser import parse_uri, split_options

from pipeline.errors import ConfigurationError, DiskFull, StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")

SETTING = "JUSTLENS_DOCUMENTS_URL"
FORM = "mongodb://user:password@host:27017/database?option=value, user and password percent-encoded"

# What holds where the address does not say otherwise.
DEFAULTS: dict[str, Any] = {
    # A write that was answered outlives the loss of the primary and a power cut: a photo that was
    # accepted, a count of deliveries and a dead letter exist nowhere else.
    "w": "majority",
    "journal": True,
    # A read sees nothing that a failover takes back. The reads that decide something go to the
    # primary, where a write that was answered is always seen.
    "readConcernLevel": "majority",
    # The driver numbers its writes and repeats one once over a failover, without doing it twice.
    "retryWrites": True,
    "retryReads": True,
    # A page is not kept waiting for a server that is away, and a stage is tried again later.
    "serverSelectionTimeoutMS": 3_000,
    "connectTimeoutMS": 3_000,
    # Above the slowest read there is, a search through all names, yet not for ever: an answer
    # that a firewall has swallowed never comes.
    "socketTimeoutMS": 20_000,
    "wTimeoutMS": 10_000,
    "waitQueueTimeoutMS": 10_000,
    # Of one process, for each server of the set; its threads wait their turn beyond that.
    "maxPoolSize": 40,
}

# Unauthorized, AuthenticationFailed, and what Atlas answers to a wrong password.
REFUSED = {13, 18, 8000}
# OutOfDiskSpace, and WriteConflict: another write of the same document came between.
NO_SPACE = 14031
CONFLICT = 112
UNREACHED = (
    errors.ConnectionFailure,
    errors.CursorNotFound,
    errors.ExecutionTimeout,
    errors.WriteConcernError,
)
# Of the name service, which addresses that begin with mongodb+srv:// are looked up in.
UNRESOLVED = (
    dns.exception.Timeout,
    dns.resolver.NoNameservers,
    dns.resolver.NoResolverConfiguration,
)
# A hint is refused with a code that many errors have.
NO_INDEX = "does not correspond to an existing index"

_numbers = itertools.count(1)
_connecting = threading.Lock()


@dataclass(frozen=True)
class _Connection:
    process: int
    alias: str
    documents: dict[type[Document], type[Document]]


class MongoServer:
    """The connection of one process, made at first use, and the document classes bound to it.

    A forked process makes a connection of its own and leaves its parent's alone.

    Parameters:
        url: MongoDB's form of address, with the name of the database; its options come before
            ``DEFAULTS``.
        documents: abstract mongoengine classes, each with the name of its collection.

    Raises:
        ConfigurationError: the address cannot work.
    """

    def __init__(self, url: str, documents: Sequence[type[Document]]) -> None:
        scheme, _, rest = url.partition("://")
        place, _, options = rest.partition("?")
        given = _checked(place, options)
        self._url = url
        self._options = {name: value for name, value in DEFAULTS.items() if name not in given}
        self._documents = documents
        self._connection: _Connection | None = None
        self.name = f"{scheme}://{place.rpartition('@')[2]}"

    def document(self, kind: type[Document]) -> Any:
        """The class that reads and writes documents of this kind on this server."""
        return self._connected().documents[kind]

    def collection(self, kind: type[Document]) -> Collection[dict[str, Any]]:
        """Its collection, for what must be read from the primary or written by an operator."""
        collection = self.document(kind)._get_collection()
        return collection.with_options(read_preference=ReadPreference.PRIMARY)

    def prepare(self) -> None:
        """Make the indexes that the classes name."""
        for kind in self._documents:
            self.document(kind).ensure_indexes()

    def version(self) -> str:
        """The server's name and version."""
        answer = self.document(self._documents[0])._get_db().command("buildInfo")
        return f"MongoDB {answer['version']}"

    def check(self) -> None:
        """Ask the primary for an answer."""
        self.document(self._documents[0])._get_db().command("ping")

    def close(self) -> None:
        """Close the connection of this process; the next use makes another."""
        with _connecting:
            connection, self._connection = self._connection, None
            if connection is not None and connection.process == os.getpid():
                mongoengine.disconnect(connection.alias)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the driver's errors into ours.

        Raises:
            StoreUnavailable: no server of the set can be reached in time, or the primary changes.
            ConfigurationError: the server refuses the user or the password, or the address has
                options that cannot work.
        """
        try:
            yield
        except UNREACHED as error:
            raise StoreUnavailable(f"{self.name}: {_said(error)}") from error
        except errors.BulkWriteError as error:
            if error.details["writeErrors"]:
                raise
            raise StoreUnavailable(f"{self.name}: a write is not confirmed yet") from error
        except errors.OperationFailure as error:
            if error.code == NO_SPACE:
                raise DiskFull(f"{self.name}: {_said(error)}") from error
            if error.code == CONFLICT or error.has_error_label("RetryableWriteError"):
                raise StoreUnavailable(f"{self.name}: {_said(error)}") from error
            if NO_INDEX in str(error):
                raise ConfigurationError(
                    f"{self.name} lacks an index, run `justlens setup`"
                ) from error
            if error.code not in REFUSED:
                raise
            raise ConfigurationError(f"{SETTING}, {self.name}: {_said(error)}") from error
        except (mongoengine.ConnectionFailure, errors.ConfigurationError) as error:
            # mongoengine says the driver's errors again, after the name of the connection.
            cause = error.__context__ or error
            if isinstance(cause, UNRESOLVED):
                raise StoreUnavailable(f"{self.name}: {cause}") from error
            raise ConfigurationError(f"{SETTING}, {self.name}: {cause}") from error

    def _connected(self) -> _Connection:
        connection = self._connection
        if connection is None or connection.process != os.getpid():
            with _connecting:
                connection = self._connection
                if connection is None or connection.process != os.getpid():
                    connection = self._connection = self._connect()
        return connection

    def _connect(self) -> _Connection:
        process = os.getpid()
        alias = f"justlens-{process}-{next(_numbers)}"
        mongoengine.connect(
            alias=alias,
            host=self._url,
            uuidRepresentation="standard",
            # mongoengine gives aliases with the same settings the same client: with the process
            # among them, a fork never gets its parent's. The server's log shows it as well.
            driver=DriverInfo("JustLens", platform=f"process {process}"),
            **self._options,
        )
        return _Connection(process, alias, {kind: _bound(kind, alias) for kind in self._documents})


class _OnServer(Protocol):
    _server: MongoServer


S = TypeVar("S", bound=_OnServer)


def reaching(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Let a store's method raise our errors instead of the driver's."""

    @wraps(method)
    def reached(store: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with store._server.errors():
            return method(store, *args, **kwargs)

    return reached


def _checked(place: str, options: str) -> Any:
    """The options of an address, by name whatever its case. Errors do not show the password."""
    try:
        # The scheme of all addresses here: the other one asks the name service.
        database = parse_uri(f"mongodb://{place}")["database"]
    except (errors.PyMongoError, ValueError):
        raise ConfigurationError(
            f"{SETTING} is no address of a server; what works: {FORM}"
        ) from None
    if not database:
        raise ConfigurationError(f"{SETTING} names no database; what works: {FORM}")
    try:
        given = split_options(options) if options else {}
    except (errors.PyMongoError, ValueError, OSError) as error:
        # A password that is not percent-encoded may reach into what looks like options.
        told = "" if "@" in options else f": {error}"
        raise ConfigurationError(f"{SETTING} has options that cannot work{told}") from None
    if given.get("w") == 0:
        raise ConfigurationError(f"{SETTING} has w=0; writes have to be confirmed, so w=1 or more")
    return given


def _bound(kind: type[Document], alias: str) -> type[Document]:
    # A class of its own for each connection: mongoengine's way to switch the database of a class
    # switches it for all threads.
    return type(kind.__name__, (kind,), {"meta": {"db_alias": alias}})


def _said(error: errors.PyMongoError) -> str:
    details = getattr(error, "details", None) or {}
    return str(details.get("errmsg") or error).partition(", Topology Description")[0]


def _renew_lock() -> None:
    # The thread that held it does not exist in the child.
    global _connecting
    _connecting = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
