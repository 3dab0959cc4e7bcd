"""SQLite for several processes and threads: the settings of every connection, and transactions.

Write-ahead logging lets readers go on beside a writer; ``BEGIN IMMEDIATE`` takes the write lock at
the start, so that a transaction that read first never fails when it comes to write; the busy
timeout makes the other processes wait their turn, and those that write ask for it often.
"""

import re
import sqlite3
import time
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, MetaData, Table, event, exc, inspect, select
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.engine import URL
from sqlalchemy.schema import CreateColumn, CreateIndex

BUSY_SECONDS = 30.0
# SQLite looks for a lock after a millisecond, and after two more.
SHORT_WAIT_SECONDS = 0.003
# The execution option that says that a transaction is going to write.
WRITES = "justlens_writes"


class Driver(sqlite3.Connection):
    """The driver's connection, which gives SQLite named parameters by their numbers.

    To look up a name the driver lets go of the interpreter, once for each: where threads are busy,
    that is a wait for one of them each time, in a transaction with the write lock.
    """

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or _Cursor)


class _Cursor(sqlite3.Cursor):
    def execute(self, statement: str, parameters: Any = ()) -> Self:
        if isinstance(parameters, dict):
            statement, names = _numbered(statement)
            parameters = [parameters[name] for name in names]
        return super().execute(statement, parameters)

    def executemany(self, statement: str, rows: Any) -> Self:
        rows = list(rows)
        if rows and isinstance(rows[0], dict):
            statement, names = _numbered(statement)
            rows = [[row[name] for name in names] for row in rows]
        return super().executemany(statement, rows)


@lru_cache(maxsize=1024)
def _numbered(statement: str) -> tuple[str, tuple[str, ...]]:
    """A statement with ?1, ?2 for its :names, and these in that order."""
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        name = found["name"]
        return f"?{numbers.setdefault(name, len(numbers) + 1)}" if name else found[0]

    return _NAME_OR_TEXT.sub(number, statement), tuple(numbers)


_NAME_OR_TEXT = re.compile(r"'[^']*'|:(?P<name>[a-z_]\w*)")


def prepare_folder(url: URL) -> None:
    """Make the folder that the database file lies in."""
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)


def prepare_engine(engine: Engine) -> None:
    """Give every connection of the engine its settings, and leave BEGIN to us.

    pysqlite begins transactions by itself and too late; the two events are SQLAlchemy's documented
    way to say when they begin.
    """

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(_wait_up_to(BUSY_SECONDS))
        _use_write_ahead_log(cursor)
        # FULL: each commit is on the disk before it returns. NORMAL outlives kill -9 but not a
        # power cut, and a photo whose upload was answered exists nowhere else.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        # By the driver itself: as a statement of SQLAlchemy it takes ten times as long, and every
        # transaction has one.
        driver = driver_of(connection)
        try:
            if writes:
                begin_to_write(driver)
            else:
                driver.execute("BEGIN")
        except sqlite3.OperationalError as error:
            raise exc.OperationalError("BEGIN", None, error) from error


def begin_to_write(driver: sqlite3.Connection) -> None:
    """Begin a transaction with the file's write lock, which another process may have.

    Raises:
        sqlite3.OperationalError: it was not to be had in ``BUSY_SECONDS``.
    """
    wait_shortly(driver)
    try:
        take_write_lock(driver)
    finally:
        driver.execute(_wait_up_to(BUSY_SECONDS))


def wait_shortly(driver: sqlite3.Connection) -> None:
    """From now on a lock that another has is soon an error; see ``take_write_lock``."""
    driver.execute(_wait_up_to(SHORT_WAIT_SECONDS))


def take_write_lock(driver: sqlite3.Connection) -> None:
    """Begin a transaction with the file's write lock, on a connection that waits shortly.

    SQLite's pauses grow to a tenth of a second, while a transaction of ours takes a few
    milliseconds: two busy processes would wait for a lock that is free most of the time. So it is
    asked to wait again and again, at which it lets other threads go on.

    Raises:
        sqlite3.OperationalError: it was not to be had in ``BUSY_SECONDS``.
    """
    began = time.monotonic()
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            # The lower byte: a log that another process recovers after a kill is busy, too.
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() - began > BUSY_SECONDS:
                raise


def _wait_up_to(seconds: float) -> str:
    return f"PRAGMA busy_timeout = {int(seconds * 1000)}"


def driver_of(connection: Connection) -> sqlite3.Connection:
    """The driver's own connection."""
    driver: Any = connection.connection.driver_connection
    return driver


@cache
def words(statement: Any) -> str:
    """A statement as the driver takes it, with its parameters by name.

    SQLAlchemy takes ten times as long to run a statement as SQLite does: those that every image
    and every page need are translated once, and given to the driver. For those that are made once.
    """
    translated = statement.compile(dialect=dialect(paramstyle="named"))
    if any(value is not None for value in translated.params.values()):
        raise ValueError(f"{translated} has a parameter with a value of its own")
    return str(translated)


def make_tables(connection: Connection, tables: MetaData) -> None:
    """Make the tables, and in a file of an earlier release the columns and indexes it lacks."""
    for table in tables.sorted_tables:
        _give_key(connection, table)
    tables.create_all(connection)
    for table in tables.sorted_tables:
        known = {column["name"] for column in inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in known:
                definition = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {definition}")
        for index in table.indexes:
            connection.execute(CreateIndex(index, if_not_exists=True))


def _give_key(connection: Connection, table: Table) -> None:
    """Copy a table of an earlier release whose primary key lacks a column; SQLite cannot add it."""
    found = inspect(connection)
    if not found.has_table(table.name):
        return
    key = found.get_pk_constraint(table.name)["constrained_columns"]
    if key == [column.name for column in table.primary_key]:
        return
    for index in found.get_indexes(table.name):
        connection.exec_driver_sql(f"DROP INDEX {index['name']}")
    connection.exec_driver_sql(f"ALTER TABLE {table.name} RENAME TO {table.name}_before")
    table.create(connection)
    before = Table(f"{table.name}_before", MetaData(), autoload_with=connection)
    connection.execute(table.insert().from_select(before.columns.keys(), select(before)))
    before.drop(connection)


def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    # The change into this mode does not wait for the busy timeout when two processes open a new
    # file at once, so that it has to be tried again.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
