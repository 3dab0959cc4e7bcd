"""A SQL database that threads share and that survives a fork."""

import math
import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Insert,
    MetaData,
    NullPool,
    Select,
    Table,
    bindparam,
    create_engine,
    exc,
    inspect,
    literal,
    make_url,
    select,
    text,
    tuple_,
)
from sqlalchemy import Row as SqlRow
from sqlalchemy.dialects import mysql as mysql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect

from pipeline.errors import ConfigurationError, DiskFull, StoreUnavailable
from pipeline.stores import mysql, sqlite
from pipeline.stores.group_commit import GroupCommit, TurnTimeout
from pipeline.stores.kept import Kept, ShortTransactions
from pipeline.stores.portable import Portable, Row

RELATIONAL_SETTING = "JUSTLENS_RELATIONAL_URL"
EVENTS_SETTING = "JUSTLENS_EVENTS_URL"

POOL_SIZE = 8
POOL_OVERFLOW = 32
# Servers and firewalls drop connections that were idle for long.
POOL_RECYCLE_SECONDS = 1800
LONGEST_IDLE_SECONDS = 60.0
DEADLOCK_TRIES = 5
DEADLOCK_PAUSE_SECONDS = 0.05
# Rows of a table that is read from end to end, at a time.
PAGE = 1000
# Changing a large table takes a server so long at most.
PREPARING_SECONDS = 3600

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

TRANSIENT = (exc.OperationalError, exc.InterfaceError, exc.InternalError)
SQLITE_ERRORS = (sqlite3.OperationalError, sqlite3.InterfaceError, sqlite3.InternalError)

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
        setting: that the address is from, for the texts of errors.

    Raises:
        ConfigurationError: the address does not have that form.
    """

    def __init__(self, url: str, tables: MetaData, setting: str = RELATIONAL_SETTING) -> None:
        self._setting = setting
        self._url = _parsed(url, setting)
        self._tables = tables
        # Whether it makes its tables itself, at first use.
        self.is_embedded = self._url.drivername.partition("+")[0] == "sqlite"
        self._store_errors = _StoreErrors(self._told)
        self._start_afresh()
        _databases.add(self)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction for reading; on SQLite all its reads see one state.

        Raises:
            StoreUnavailable: the database cannot be reached or is too busy.
            ConfigurationError: a server refuses us, or lacks the database or its tables.
        """
        with self._store_errors, self._connected().begin() as connection:
            yield connection

    def read(self, statement: Select[Any], parameters: Mapping[str, Any]) -> list[Any]:
        """The rows of one statement of those that are made once, as the driver gives them.

        Raises:
            StoreUnavailable: the database cannot be reached or is too busy.
            ConfigurationError: see ``reading``.
        """
        words = sqlite.words if self.is_embedded else mysql.words
        return self.rows(words(statement), parameters)

    def rows(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """What one statement in the driver's words reads, as the driver gives it.

        Raises:
            StoreUnavailable: the database cannot be reached or is too busy.
            ConfigurationError: see ``reading``.
        """
        with self._store_errors:
            return self._short.read(statement, parameters)

    def add(self, statement: Insert, parameters: Mapping[str, Any]) -> bool:
        """Whether one statement of those that are made once has added a row, in a transaction of
        its own; not if what another transaction adds is in its way. One that a server closed the
        connection on runs twice.

        Raises:
            StoreUnavailable: the database cannot be reached or is too busy.
            ConfigurationError: see ``reading``.
        """
        if self.is_embedded:
            words = sqlite.words(statement)
            return self.together(lambda driver: driver.execute(words, parameters).rowcount) > 0
        try:
            with self._store_errors:
                return self._short.change(mysql.words(statement), parameters) > 0
        except exc.IntegrityError:
            return False
        except StoreUnavailable as error:
            if mysql.is_deadlock(error.__cause__):
                return False
            raise

    def walk(self, query: Select[Any], after: Mapping[str, Any]) -> Iterator[SqlRow[Any]]:
        """All rows of a query, in short reads of a page each, so that no writer has to wait.

        Args:
            query: ordered by its first columns, and of what lies behind the parameters ``after``.
            after: what those columns are greater than in the first page, by parameter.

        Raises:
            StoreUnavailable: the database cannot be reached or is too busy.
        """
        page = query.limit(PAGE)
        while True:
            with self.reading() as connection:
                rows = connection.execute(page, after).all()
            yield from rows
            if len(rows) < PAGE:
                return
            after = dict(zip(after, rows[-1], strict=False))

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write: committed at the end, rolled back on an exception.

        Raises:
            StoreUnavailable: the database cannot be reached or is too busy.
            ConfigurationError: a server refuses us, or lacks the database or its tables.
        """
        with (
            self._store_errors,
            self._turn(),
            _to_write(self._connected()) as connection,
            connection.begin(),
        ):
            yield connection

    def together(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """What ``work`` returns in a transaction on SQLite that other threads may share.

        Args:
            work: writes by the driver's connection and does nothing else, since it may be run in
                another thread, and twice.

        Raises:
            StoreUnavailable: the database cannot be reached or is too busy.
        """
        with self._store_errors:
            return self._together.run(work)

    def write(
        self,
        work: Callable[Concatenate[Connection, Arguments], Result],
        *arguments: Arguments.args,
        **options: Arguments.kwargs,
    ) -> Result:
        """What ``work`` returns in a transaction that may write; see ``writing``.

        Of transactions that wait for each other a server rolls one back: that one runs again.
        """
        tries = 1
        while True:
            try:
                with self.writing() as connection:
                    return work(connection, *arguments, **options)
            except StoreUnavailable as error:
                if tries == DEADLOCK_TRIES or not mysql.is_deadlock(error.__cause__):
                    raise
            # By chance, or the same transactions would meet again.
            time.sleep(random.uniform(0, tries * DEADLOCK_PAUSE_SECONDS))
            tries += 1

    @contextmanager
    def preparing(self) -> Iterator[Connection]:
        """A transaction on a connection to a server that is used for nothing else, and that waits
        as long as a change of the tables takes.

        Raises:
            StoreUnavailable: the database cannot be reached.
            ConfigurationError: the server refuses us, or lacks the database.
        """
        patient = self._url.update_query_dict({"read_timeout": str(PREPARING_SECONDS)})
        engine = mysql.make_engine(patient, self._setting, poolclass=NullPool)
        with self._store_errors, engine.begin() as connection:
            yield connection

    def prepare(self) -> None:
        """Bring the tables of a server up to date; safe to repeat, and to run beside others.

        Raises:
            StoreUnavailable: the database cannot be reached.
            ConfigurationError: the server refuses us, or lacks the database.
        """
        if not self.is_embedded:
            # Alembic takes long to import, and only this needs it.
            from pipeline.stores import migrations

            with self.preparing() as connection:
                migrations.upgrade(connection)

    def version(self) -> str:
        """The database's name and version."""
        if self.is_embedded:
            return f"SQLite {sqlite3.sqlite_version}"
        with self.reading() as connection:
            number = str(connection.execute(text("SELECT VERSION()")).scalar_one())
        return number if "MariaDB" in number else f"MySQL {number}"

    def check(self) -> None:
        """Raise ``StoreUnavailable`` unless the database answers."""
        with self.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections that are not in use; the next use opens new ones."""
        for kept in (self._readers, self._writer):
            kept.close()
        if self._engine is not None:
            self._engine.dispose()

    def _start_afresh(self) -> None:
        self._engine: Engine | None = None
        self._making = threading.Lock()
        longest = math.inf if self.is_embedded else LONGEST_IDLE_SECONDS
        self._readers = Kept(self._new_connection, POOL_SIZE, longest)
        self._short = ShortTransactions(self._connected, self._readers)
        # SQLite has one writer at a time and lets the others poll with growing pauses: the threads
        # of one process write together instead.
        self._writer = Kept(self._new_writer, 1, math.inf)
        self._together = GroupCommit(self._writer.one, sqlite.BUSY_SECONDS)
        self._is_paused = False

    def _new_connection(self) -> Any:
        """One of the driver, on which no transaction begins by itself; its user closes it."""
        connection = self._connected().raw_connection()
        driver: Any = connection.driver_connection
        connection.detach()
        if not self.is_embedded:
            driver.autocommit(True)
        return driver

    def _new_writer(self) -> sqlite3.Connection:
        driver: sqlite3.Connection = self._new_connection()
        sqlite.wait_shortly(driver)
        return driver

    def _pause(self) -> None:
        # A child that inherits a transaction under way would take its lock for one of its own.
        if self.is_embedded:
            with suppress(TurnTimeout):
                self._together.pause()
                self._is_paused = True
        self.close()

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._together.resume()

    def _connected(self) -> Engine:
        if self._engine is None:
            with self._making:
                if self._engine is None:
                    self._engine = self._make_engine()
        return self._engine

    def _make_engine(self) -> Engine:
        pool = {"pool_size": POOL_SIZE, "max_overflow": POOL_OVERFLOW}
        if not self.is_embedded:
            return mysql.make_engine(
                self._url,
                self._setting,
                pool_pre_ping=True,
                pool_recycle=POOL_RECYCLE_SECONDS,
                # Every transaction of ours has been ended: a round trip less.
                pool_reset_on_return=None,
                **pool,
            )
        try:
            sqlite.prepare_folder(self._url)
        except OSError as error:
            raise StoreUnavailable(f"{self._name()}: {error}") from error
        engine = create_engine(
            self._url,
            pool_timeout=sqlite.BUSY_SECONDS,
            connect_args={"factory": sqlite.Driver},
            **pool,
        )
        sqlite.prepare_engine(engine)
        with _to_write(engine) as connection, connection.begin():
            self._refuse_unknown_columns(connection)
            sqlite.make_tables(connection, self._tables)
        return engine

    def _refuse_unknown_columns(self, connection: Connection) -> None:
        """What another release keeps in columns of its own would be passed over without a word."""
        found = inspect(connection)
        for table in self._tables.sorted_tables:
            known = found.get_columns(table.name) if found.has_table(table.name) else []
            if unknown := {column["name"] for column in known} - set(table.columns.keys()):
                raise ConfigurationError(
                    f"{self._name()}: the table {table.name} is of another release of JustLens "
                    f"(column {', '.join(sorted(unknown))}); set JUSTLENS_DATA_DIR to a new "
                    "folder, and take the photos in again"
                )

    def _turn(self) -> AbstractContextManager[None]:
        return self._together.alone() if self.is_embedded else nullcontext()

    def _told(self, error: BaseException) -> Exception | None:
        """What our callers are told instead of an error; none where that is for them as it is."""
        if isinstance(error, exc.DBAPIError):
            if not self.is_embedded and (todo := mysql.what_to_do(error, self._url, self._setting)):
                return ConfigurationError(f"{self._name()}: {error.orig}; {todo}")
            if _is_full(error):
                return DiskFull(f"{self._name()}: {error.orig}")
            if isinstance(error, TRANSIENT):
                return StoreUnavailable(f"{self._name()}: {error.orig}")
        elif isinstance(error, SQLITE_ERRORS):
            kind = DiskFull if _is_full_disk(error) else StoreUnavailable
            return kind(f"{self._name()}: {error}")
        elif isinstance(error, exc.TimeoutError):
            return StoreUnavailable(f"{self._name()}: no free connection")
        elif isinstance(error, TurnTimeout):
            return StoreUnavailable(f"{self._name()}: other writers of this process keep it busy")
        return None

    def _name(self) -> str:
        # Options may hold passwords, too.
        return self._url.set(query={}).render_as_string(hide_password=True)


class _StoreErrors:
    # Around each of forty transactions an image: a generator of contextlib costs several times as
    # much, and this one holds nothing of a block, so that there need be only one.
    __slots__ = ("_told",)

    def __init__(self, told: Callable[[BaseException], Exception | None]) -> None:
        self._told = told

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and (told := self._told(error)) is not None:
            raise told from error


class SqlStore(Portable):
    """What every store on a SQL database has: its connections, whether they work, and its rows.

    Parameters:
        url: SQLAlchemy's form of address: ``sqlite:///...`` or ``mysql+pymysql://...``, with
            PyMySQL's options (``?ssl_ca=/ca.pem``).
        tables: its tables.
        setting: that the address is from.

    Raises:
        ConfigurationError: the address does not have that form.
    """

    def __init__(self, url: str, tables: MetaData, setting: str = RELATIONAL_SETTING) -> None:
        self._database = Database(url, tables, setting)
        self._tables = tables.sorted_tables
        self.parts = tuple(table.name for table in self._tables)

    def every_row(self, part: str) -> Iterator[Row]:
        table = self._table(part)
        key = list(table.primary_key)
        after = {column.name: bindparam(column.name, type_=column.type) for column in key}
        others = [column for column in table.c if not column.primary_key]
        query = (
            select(*key, *others)
            # By the first of the two conditions MySQL begins at the key.
            .where(key[0] >= after[key[0].name], tuple_(*key) > tuple_(*after.values()))
            .order_by(*key)
        )
        first = {column.name: "" if column.type.python_type is str else -1 for column in key}
        for row in self._database.walk(query, first):
            yield dict(row._mapping)

    def add_rows(self, part: str, rows: Sequence[Row]) -> None:
        if rows:
            self._database.write(_add, self._table(part), rows)

    def _table(self, part: str) -> Table:
        return next(table for table in self._tables if table.name == part)

    def prepare(self) -> None:
        """Bring the tables of a server up to date; safe to repeat, and to run beside others.

        Raises:
            ConfigurationError: the server refuses us, or lacks the database.
        """
        self._database.prepare()

    def version(self) -> str:
        """What serves it, and in which version; for people."""
        return self._database.version()

    def check(self) -> None:
        """Raise ``StoreUnavailable`` unless the store answers.

        Raises:
            ConfigurationError: the server refuses us, or ``prepare`` has never run there.
        """
        with self._database.reading() as connection:
            for table in self._tables:
                connection.execute(select(literal(1)).select_from(table).limit(1))

    def close(self) -> None:
        """Give connections back."""
        self._database.close()


def _to_write(engine: Engine) -> Connection:
    """A connection whose transactions take the write lock as they begin."""
    return engine.connect().execution_options(**{sqlite.WRITES: True})


def _add(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(sqlite_dialect.insert(table).on_conflict_do_nothing(), rows)
        return
    # IGNORE would also let pass, cut off, what is too long.
    key, *_ = table.primary_key
    new = mysql_dialect.insert(table)
    connection.execute(new.on_duplicate_key_update({key.name: key}), rows)


def _parsed(url: str, setting: str) -> URL:
    try:
        return make_url(url)
    except (exc.ArgumentError, ValueError):
        # The address, and so the text of the error, may hold a password.
        raise ConfigurationError(
            f"{setting}: the address of a database that begins with {url.partition('://')[0]!r} "
            f"cannot be read; what works: sqlite:////folder/file.db and {mysql.FORM}, where a "
            "password's own @ : / are %40 %3A %2F"
        ) from None


def _is_full(error: exc.DBAPIError) -> bool:
    return _is_full_disk(error.orig) or mysql.is_full(error)


def _is_full_disk(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


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
