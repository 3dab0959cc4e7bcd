"""A SQL database that threads share and that survives a fork."""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Connection, Engine, MetaData, create_engine, exc, make_url, text

from pipeline.errors import StoreUnavailable
from pipeline.stores import sqlite

POOL_SIZE = 8
POOL_OVERFLOW = 32
# Servers and firewalls drop connections that were idle for long.
POOL_RECYCLE_SECONDS = 1800

_databases: "weakref.WeakSet[Database]" = weakref.WeakSet()


class Database:
    """An engine made at first use, and the two kinds of transaction.

    A forked process must not touch connections of its parent, nor even inherit open ones of
    SQLite, whose locks belong to a process: a fork waits for the end of a write, idle connections
    are closed before it, and the child makes an engine of its own.

    Tables are created where they are missing on SQLite; on a server that is the migrations' part.

    Parameters:
        url: SQLAlchemy's form of address.
        tables: the tables to be created.
    """

    def __init__(self, url: str, tables: MetaData) -> None:
        self._url = make_url(url)
        self._tables = tables
        self._embedded = self._url.get_backend_name() == "sqlite"
        self._start_afresh()
        _databases.add(self)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction for reading; on SQLite all its reads see one state.

        Raises:
            StoreUnavailable: the database cannot be reached or is too busy.
        """
        with self._store_errors(), self._connected().begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write: committed at the end, rolled back on an exception.

        Raises:
            StoreUnavailable: the database cannot be reached or is too busy.
        """
        with self._store_errors(), self._turn(), self._writing(self._connected()) as connection:
            yield connection

    def check(self) -> None:
        """Raise ``StoreUnavailable`` unless the database answers."""
        with self.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections that are not in use; the next use opens new ones."""
        if self._engine is not None:
            self._engine.dispose()

    def _start_afresh(self) -> None:
        self._engine: Engine | None = None
        self._making = threading.Lock()
        # SQLite has one writer at a time and lets the others poll with growing pauses; threads
        # of one process that wait for this lock instead get their turn at once.
        self._writers = threading.Lock()
        self._is_paused = False

    def _pause(self) -> None:
        # A child that inherits a transaction under way would take its lock for one of its own.
        if self._embedded:
            self._is_paused = self._writers.acquire(timeout=sqlite.BUSY_SECONDS)
        self.close()

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._writers.release()

    def _connected(self) -> Engine:
        if self._engine is None:
            with self._making:
                if self._engine is None:
                    self._engine = self._make_engine()
        return self._engine

    def _make_engine(self) -> Engine:
        pool = {"pool_size": POOL_SIZE, "max_overflow": POOL_OVERFLOW}
        if not self._embedded:
            return create_engine(
                self._url,
                isolation_level="READ COMMITTED",
                pool_pre_ping=True,
                pool_recycle=POOL_RECYCLE_SECONDS,
                **pool,
            )
        try:
            sqlite.prepare_folder(self._url)
        except OSError as error:
            raise StoreUnavailable(f"{self._name()}: {error}") from error
        engine = create_engine(self._url, pool_timeout=sqlite.BUSY_SECONDS, **pool)
        sqlite.prepare_engine(engine)
        with self._writing(engine) as connection:
            self._tables.create_all(connection)
        return engine

    @contextmanager
    def _writing(self, engine: Engine) -> Iterator[Connection]:
        with engine.connect() as connection:
            connection = connection.execution_options(**{sqlite.WRITES: True})
            with connection.begin():
                yield connection

    def _turn(self) -> AbstractContextManager[object]:
        return self._one_writer() if self._embedded else nullcontext()

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        lock = self._writers
        if not lock.acquire(timeout=sqlite.BUSY_SECONDS):
            raise StoreUnavailable(f"{self._name()}: other writers of this process keep it busy")
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except (exc.OperationalError, exc.InterfaceError) as error:
            raise StoreUnavailable(f"{self._name()}: {error.orig}") from error
        except exc.TimeoutError as error:
            raise StoreUnavailable(f"{self._name()}: no free connection") from error

    def _name(self) -> str:
        return self._url.render_as_string(hide_password=True)


def _before_fork() -> None:
    for database in list(_databases):
        database._pause()


def _after_fork_in_parent() -> None:
    for database in list(_databases):
        database._resume()


def _after_fork_in_child() -> None:
    for database in list(_databases):
        database._start_afresh()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
