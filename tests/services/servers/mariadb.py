"""MariaDB or MySQL.

``JUSTLENS_TEST_MYSQL_URL`` names one by the address of a user who may make databases and users
(``mysql+pymysql://root:…@host:3306/``). Else the one of this machine serves, if its socket lets us
in, else one in a temporary folder.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, NullPool, Row, create_engine, exc, make_url, text

from tests.services.servers import free_port, wait_for

SETTING = "JUSTLENS_TEST_MYSQL_URL"
SOCKET = Path("/run/mysqld/mysqld.sock")


@dataclass(frozen=True)
class Server:
    """A server; ``admin`` may make databases and users, who come in by ``host`` and ``port``."""

    admin: URL
    host: str
    port: int

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of an empty database, by a user who may do everything there and only there;
        both are dropped afterwards."""
        name = f"justlens_test_{secrets.token_hex(6)}"
        # What has to be written otherwise in an address.
        password = f"p@:/{secrets.token_hex(6)}"
        address = URL.create("mysql+pymysql", name, password, self.host, self.port, name)
        try:
            self.execute(
                f"CREATE DATABASE {name}",
                f"CREATE USER '{name}'@'%' IDENTIFIED BY '{password}'",
                f"GRANT ALL ON {name}.* TO '{name}'@'%'",
            )
            yield address.render_as_string(hide_password=False)
        finally:
            # A test that failed may have left a transaction open.
            self.execute(
                "SET SESSION lock_wait_timeout = 20",
                f"DROP DATABASE IF EXISTS {name}",
                f"DROP USER IF EXISTS '{name}'@'%'",
            )

    def execute(self, *statements: str) -> list[Row[Any]]:
        """Run statements as the administrator, each for itself; the rows of the last one."""
        with _engine(self.admin).connect() as connection:
            for statement in statements:
                result = connection.execute(text(statement.replace(":", r"\:")))
            return list(result) if result.returns_rows else []

    def answers(self) -> bool:
        """Whether the administrator is let in."""
        try:
            self.execute("SELECT 1")
        except exc.OperationalError:
            return False
        return True


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server that answers; ``folder`` is for one that has to be started."""
    named = os.environ.get(SETTING)
    if named:
        admin = make_url(named)
        yield Server(admin, admin.host or "127.0.0.1", admin.port or 3306)
        return
    found = Server(_by_socket(SOCKET), "127.0.0.1", 3306)
    if found.answers():
        yield found
        return
    with started(folder) as server:
        yield server


@contextmanager
def started(folder: Path, *options: str, port: int = 0) -> Iterator[Server]:
    """A server of its own in a folder; in the same folder it is started again on its data."""
    daemon = shutil.which("mariadbd", path="/usr/sbin:/usr/bin:/usr/local/bin")
    install = shutil.which("mariadb-install-db")
    if daemon is None or install is None:
        pytest.skip(f"no MariaDB answers or is installed, and {SETTING} names none")
    data, log, socket, port = (
        folder / "data",
        folder / "log",
        folder / "socket",
        port or free_port(),
    )
    own = ["--no-defaults", f"--datadir={data}"]
    if not data.exists():
        subprocess.run(
            [install, *own, "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True,
            capture_output=True,
        )
    command = [
        daemon,
        *own,
        *("--user=root" for _ in range(os.geteuid() == 0)),
        f"--socket={socket}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--log-error={log}",
        *options,
    ]
    process = subprocess.Popen(command)
    try:
        server = Server(_by_socket(socket), "127.0.0.1", port)
        wait_for(server.answers, process, str(log))
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _by_socket(socket: Path) -> URL:
    return URL.create("mysql+pymysql", "root", query={"unix_socket": str(socket)})


def _engine(address: URL) -> Engine:
    return create_engine(address, poolclass=NullPool, isolation_level="AUTOCOMMIT")
