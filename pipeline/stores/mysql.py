"""MySQL and MariaDB: the settings of every connection, and what their errors ask for.

``READ COMMITTED``, because every statement of ours that depends on a row locks it first: without
the gaps that the servers' default locks beside rows, writers wait for each other less.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import Engine, create_engine, event, exc
from sqlalchemy.dialects.mysql import dialect
from sqlalchemy.engine import URL

from pipeline.errors import ConfigurationError

FORM = "mysql+pymysql://user:password@host:3306/database"

# PyMySQL's options; those in the address go before them. Seconds, where they are times.
OPTIONS: Mapping[str, str] = {
    "charset": "utf8mb4",
    "connect_timeout": "5",
    "read_timeout": "30",
    "write_timeout": "30",
    # Without strict mode a server cuts off texts that are too long. The wait for a lock ends before
    # the read timeout does, so that it is the server that gives up, and the connection stays good.
    "init_command": "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',"
    " innodb_lock_wait_timeout = 10",
}

# https://mariadb.com/kb/en/mariadb-error-code-reference/; MySQL's are the same.
DEADLOCK = 1213
NO_ACCESS = frozenset(
    {
        1044,  # no rights on the database
        1045,  # no such user, or another password
        1049,  # no such database
        1130,  # the user may not come from this host
        1142,  # no rights on a table
        1143,  # no rights on a column
        1227,  # a right of administrators is needed
        1698,  # the user is not one that has a password
        1820,  # the password has to be changed first
        1862,  # the password has expired
    }
)
NO_TABLE = frozenset({1054, 1146})  # no such column, no such table
NO_TLS = 2026
NO_SPACE = frozenset({1021, 1114})  # the disk, a table


def make_engine(url: URL, setting: str, **options: Any) -> Engine:
    """An engine whose connections have the settings above; it does not connect yet.

    Args:
        setting: that the address is from, for the texts of errors.
        options: of SQLAlchemy.

    Raises:
        ConfigurationError: the address cannot work, or the driver that it names is not installed.
            Also at the first connection, where the driver refuses an option of the address.
    """
    if not url.database:
        raise ConfigurationError(f"{setting} names no database; what works: {FORM}")
    try:
        engine = create_engine(
            url.set(query={**OPTIONS, **url.query}), isolation_level="READ COMMITTED", **options
        )
    except (exc.ArgumentError, ImportError, ValueError) as error:
        raise ConfigurationError(f"{setting}: {error}; what works: {FORM}") from error

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: Any, _record: Any, places: Any, names: Any) -> Any:
        # What a server answers is one of the driver's own errors; these are its trouble with
        # options: an unknown one, a file that is not there, a package that is not installed.
        try:
            return dialect.connect(*places, **names)
        except (TypeError, ValueError, OSError, RuntimeError) as error:
            raise ConfigurationError(f"{setting}, its options: {error}") from error

    return engine


@cache
def words(statement: Any) -> str:
    """A statement as the driver takes it, with its parameters by name; see ``sqlite.words``."""
    return str(statement.compile(dialect=dialect(paramstyle="pyformat")))


def what_to_do(error: exc.DBAPIError, url: URL, setting: str) -> str:
    """What somebody has to do before it can work; empty: another try may."""
    number = _number(error)
    if number == NO_TLS:
        return f"let the server offer TLS, or take the ssl_ options out of {setting}"
    if number in NO_TABLE:
        return "the tables are missing or old, run `justlens setup`"
    if number in NO_ACCESS:
        user = f"'{url.username or ''}'@'%'"
        return (
            f"correct {setting}, or let an administrator of the server run "
            f"CREATE DATABASE {url.database}; CREATE USER {user} IDENTIFIED BY '…'; "
            f"GRANT ALL ON {url.database}.* TO {user};"
        )
    return ""


def is_deadlock(error: BaseException | None) -> bool:
    """Whether the server rolled a transaction back because it and others waited for each other."""
    return isinstance(error, exc.DBAPIError) and _number(error) == DEADLOCK


def is_full(error: exc.DBAPIError) -> bool:
    """Whether the server has no room left to write to."""
    return _number(error) in NO_SPACE


def _number(error: exc.DBAPIError) -> object:
    arguments = error.orig.args if error.orig else ()
    return arguments[0] if arguments else None
