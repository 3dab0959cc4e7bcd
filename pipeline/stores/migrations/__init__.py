"""The tables of the relational store on a server: one migration for each change, forward only.

A server commits each change of a table by itself. A migration therefore changes something as a
whole or not at all, and only where it has not been changed yet: one that was cut off runs again.
"""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from pipeline.errors import StoreUnavailable

WAIT_SECONDS = 60
# Names of locks belong to the whole server and hold 64 characters.
LOCK = text("SELECT GET_LOCK(CONCAT('justlens ', MD5(DATABASE())), :seconds)")


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables up to a revision; the end of the connection lets others do so.

    Raises:
        StoreUnavailable: another process has been doing it for ``WAIT_SECONDS``.
    """
    if connection.execute(LOCK, {"seconds": WAIT_SECONDS}).scalar() != 1:
        raise StoreUnavailable("another process has been changing the tables for a minute")
    config = Config()
    config.set_main_option("script_location", "pipeline.stores:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def collation(connection: Connection) -> str:
    """By which texts are told apart by their bytes, as they are in Python.

    utf8mb4_bin would take "Bar" and "Bar " for the same. The two servers have other words for it.
    """
    version = str(connection.execute(text("SELECT VERSION()")).scalar())
    return "utf8mb4_nopad_bin" if "MariaDB" in version else "utf8mb4_0900_bin"
