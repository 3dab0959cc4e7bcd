"""What only the relational store on MariaDB or MySQL promises."""

import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pymysql
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, bindparam, func, make_url, select, text

from pipeline.errors import ConfigurationError, StoreUnavailable
from pipeline.records import AltTag, Category
from pipeline.stores import database, migrations, relational
from pipeline.stores.api_keys import KEY_TABLES
from pipeline.stores.database import Database
from pipeline.stores.events import EVENT_TABLES
from pipeline.stores.queries import QUERY_TABLES
from pipeline.stores.relational import TABLES, AltTexts, Directory
from pipeline.stores.shadow import SHADOW_TABLES
from tests.services.servers import free_port, mariadb
from tests.services.servers.certificate import make_certificate
from tests.unit.stores.conftest import Opener
from tests.unit.stores.processes import run_side_by_side

pytestmark = pytest.mark.services

PROCESSES = 8
ROUNDS = 25

CONFIG = Config()
CONFIG.set_main_option("script_location", "pipeline.stores:migrations")
REVISIONS = [script.revision for script in ScriptDirectory.from_config(CONFIG).walk_revisions()]


@pytest.fixture
def tables(open_directory: Opener) -> Iterator[Database]:
    """The database below the store, with its tables."""
    below = Database(*open_directory.arguments, TABLES)
    yield below
    below.close()


def alt(product_id: int = 7, **fields: Any) -> AltTag:
    return AltTag(
        **{"docid": "B1", "product_id": product_id, "alttag": "a", "score": 0.3, **fields}
    )


def altered(url: str, **parts: Any) -> str:
    """The address with other parts or options."""
    query = {**make_url(url).query, **parts.pop("query", {})}
    return make_url(url).set(query=query, **parts).render_as_string(hide_password=False)


class TestProcessesAtOnce:
    def test_never_overwrite_what_a_person_wrote(self, open_directory):
        run_side_by_side(write_alt_texts, [(open_directory, number) for number in range(PROCESSES)])
        directory = open_directory()
        found = directory.alt_texts(AltTexts())
        assert {text.source for text in found} == {"manual"}
        assert len(found) == ROUNDS
        directory.close()

    def test_raise_the_version_once_for_every_change_from_the_first_one_on(self, open_directory):
        run_side_by_side(add_names, [(open_directory, number) for number in range(PROCESSES)])
        directory = open_directory()
        assert len(directory.vocabulary()) == PROCESSES * ROUNDS
        assert directory.vocabulary_version() == str(PROCESSES * ROUNDS)
        directory.close()

    def test_prepare_an_empty_database_together(self, mysql_url):
        opener = Opener(Directory, (mysql_url,))
        assert run_side_by_side(prepare, [(opener,)] * PROCESSES) == ["ready"] * PROCESSES


class TestMigrations:
    def test_make_the_tables_that_the_store_works_with(self, tables):
        assert differences(tables) == []

    @pytest.mark.parametrize("revision", REVISIONS)
    def test_bring_the_tables_of_each_revision_up_to_date(self, mysql_url, revision):
        below = Database(mysql_url, TABLES)
        with below.preparing() as connection:
            migrations.upgrade(connection, revision)
        Directory(mysql_url).prepare()
        assert differences(below) == []
        below.close()

    def test_can_be_repeated_and_keep_the_rows(self, directory):
        directory.save_categories("B1", [Category(catid=1, name="Sushi")])
        directory.prepare()
        assert directory.vocabulary() == ["Sushi"]

    def test_go_on_where_one_was_cut_off(self, tables, directory):
        with tables.writing() as connection:
            connection.execute(text("DROP TABLE alembic_version"))
            connection.execute(text("DROP TABLE versions"))
        directory.prepare()
        assert differences(tables) == []

    def test_wait_for_the_one_that_is_at_it(self, mysql_url, monkeypatch):
        monkeypatch.setattr(migrations, "WAIT_SECONDS", 0)
        below = Database(mysql_url, TABLES)
        with below.preparing() as connection:
            migrations.upgrade(connection)
            with pytest.raises(StoreUnavailable, match="another process"):
                Directory(mysql_url).prepare()
        Directory(mysql_url).prepare()


class TestTransactions:
    def test_run_again_when_the_server_broke_a_deadlock(self, tables, directory):
        works = deadlock(tables, directory)
        assert [work.error for work in works] == [None, None]
        assert sum(work.tries for work in works) == 3
        scores = {text.score for text in directory.alt_texts(AltTexts())}
        assert scores == {2.0}

    def test_that_both_find_no_version_yet_count_both(self, directory, monkeypatch):
        both = threading.Barrier(2)
        insert = relational._insert_or_lock

        def insert_together(*arguments: Any) -> None:
            both.wait(30)
            insert(*arguments)

        monkeypatch.setattr(relational, "_insert_or_lock", insert_together)
        threads = [
            threading.Thread(target=directory.add_vocabulary, args=([name],))
            for name in ("Sushi", "Ramen")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert directory.vocabulary() == ["Ramen", "Sushi"]
        assert directory.vocabulary_version() == "2"

    def test_give_up_after_a_few_deadlocks(self, tables, directory, monkeypatch):
        monkeypatch.setattr(database, "DEADLOCK_TRIES", 1)
        works = deadlock(tables, directory)
        (error,) = (work.error for work in works if work.error)
        assert isinstance(error, StoreUnavailable)
        assert "1213" in str(error)

    def test_that_wait_too_long_for_a_lock_can_be_tried_again(self, mysql_url, tables, directory):
        directory.save_alt_text(alt())
        impatient = altered(
            mysql_url, query={"init_command": "SET SESSION innodb_lock_wait_timeout = 1"}
        )
        other = Directory(impatient)
        with tables.writing() as connection:
            connection.execute(text("SELECT * FROM alttags FOR UPDATE"))
            with pytest.raises(StoreUnavailable, match="1205"):
                other.save_alt_text(alt(alttag="late"))
        assert other.save_alt_text(alt(alttag="late")).alttag == "late"
        other.close()

    def test_have_their_settings_stated(self, tables):
        with tables.writing() as connection:
            row = connection.execute(
                text("SELECT @@sql_mode, @@character_set_client, @@innodb_lock_wait_timeout")
            ).one()
            isolation = connection.get_isolation_level()
        assert "STRICT_ALL_TABLES" in row[0]
        assert row[1:] == ("utf8mb4", 10)
        assert isolation == "READ COMMITTED"


class TestConnections:
    def test_that_the_server_has_closed_are_made_again(self, mysql_server, mysql_url, directory):
        directory.check()
        kill_all(mysql_server, mysql_url)
        directory.check()

    def test_that_break_within_a_transaction_can_be_tried_again(
        self, mysql_server, mysql_url, tables
    ):
        with (
            pytest.raises(StoreUnavailable, match=r"2006|2013"),
            tables.writing() as connection,
        ):
            kill_all(mysql_server, mysql_url)
            connection.execute(text("SELECT 1"))
        tables.check()

    def test_beyond_what_the_server_allows_can_be_tried_again(
        self, mysql_server, mysql_url, tables
    ):
        user = make_url(mysql_url).username
        mysql_server.execute(f"GRANT USAGE ON *.* TO '{user}'@'%' WITH MAX_USER_CONNECTIONS 1")
        tables.close()
        with (
            tables.reading(),
            pytest.raises(StoreUnavailable, match="max_user_connections"),
        ):
            Directory(mysql_url).check()

    def test_of_a_forked_process_are_its_own(self, tables):
        before = connection_id(tables)
        receiver, sender = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("fork").Process(
            target=lambda: sender.send(connection_id(tables))
        )
        child.start()
        assert receiver.poll(30)
        assert receiver.recv() not in (before, connection_id(tables))
        child.join(30)
        assert child.exitcode == 0

    def test_to_a_server_that_is_away_fail_within_seconds(self, mysql_url):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"Can.t connect"):
            Directory(altered(mysql_url, port=free_port())).check()
        assert time.monotonic() - began < 10

    def test_to_a_server_that_says_nothing_end_with_the_timeout(self, mysql_url):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            address = altered(
                mysql_url, port=port, query={"connect_timeout": "1", "read_timeout": "1"}
            )
            with pytest.raises(StoreUnavailable):
                Directory(address).check()


class TestShortTransactions:
    def test_on_connections_that_the_server_has_closed_are_made_again(
        self, mysql_server, mysql_url, tables
    ):
        read_side_by_side(tables)
        closed = set(connections(mysql_server, mysql_url))
        assert closed
        kill_all(mysql_server, mysql_url)
        # Whose rows are looked at: none of the reads fails, and none is on one of those.
        read_side_by_side(tables)
        made = set(connections(mysql_server, mysql_url))
        assert made
        assert not made & closed

    def test_are_one_round_trip(self, directory, monkeypatch):
        directory.save_alt_text(alt())
        directory.alt_text("B1", 7)
        asked = []
        execute = pymysql.connections.Connection._execute_command

        def counted(connection: Any, command: int, statement: Any) -> Any:
            asked.append(statement)
            return execute(connection, command, statement)

        monkeypatch.setattr(pymysql.connections.Connection, "_execute_command", counted)
        directory.alt_text("B1", 7)
        assert len(asked) == 1
        directory.save_alt_text(alt(product_id=8))
        assert len(asked) == 2

    def test_add_on_connections_that_the_server_has_closed(
        self, mysql_server, mysql_url, directory
    ):
        directory.alt_text("B1", 7)
        kill_all(mysql_server, mysql_url)
        added = alt()
        assert directory.save_alt_text(added) == added
        assert directory.alt_text("B1", 7) == added

    def test_give_way_to_another_that_adds_the_same(self, tables, directory):
        person = alt(alttag="person", source="manual")
        with ThreadPoolExecutor() as threads:
            with tables.writing() as connection:
                relational._insert_or_lock(connection, relational._alttags, person.model_dump())
                run = threads.submit(directory.save_alt_text, alt(alttag="run"))
                # It waits for the row's lock.
                with pytest.raises(TimeoutError):
                    run.result(0.5)
            assert run.result(30) == person

    def test_see_what_was_written_since_the_last_one(self, mysql_url, directory):
        other = Directory(mysql_url)
        for words in ("a", "b", "c"):
            other.save_alt_text(alt(alttag=words))
            assert directory.alt_text("B1", 7) == other.alt_texts_of([("B1", 7)])["B1", 7]
        other.close()

    def test_keep_a_few_connections(self, mysql_server, mysql_url, tables):
        read_side_by_side(tables, 2 * database.POOL_SIZE)
        assert len(connections(mysql_server, mysql_url)) <= database.POOL_SIZE
        tables.close()
        assert not connections(mysql_server, mysql_url)

    def test_of_a_server_that_is_away_say_so(self):
        with pytest.raises(StoreUnavailable, match=r"Can.t connect"):
            Directory(f"mysql+pymysql://reader@127.0.0.1:{free_port()}/db").alt_text("B1", 7)

    def test_of_a_database_without_tables_name_the_command_that_makes_them(self, mysql_url):
        with pytest.raises(ConfigurationError, match="justlens setup"):
            Directory(mysql_url).alt_text("B1", 7)


class TestSettings:
    @pytest.mark.parametrize("parts", [{"password": "s3cr3t"}, {"database": "not_ours"}])
    def test_that_the_server_refuses_say_how_to_let_them_in(self, mysql_url, parts):
        address = altered(mysql_url, **parts)
        with pytest.raises(ConfigurationError) as raised:
            Directory(address).check()
        message = str(raised.value)
        assert "JUSTLENS_RELATIONAL_URL" in message
        assert f"CREATE DATABASE {make_url(address).database}" in message
        assert f"CREATE USER '{make_url(address).username}'" in message
        assert "GRANT ALL ON" in message
        assert str(make_url(address).password) not in message

    def test_of_a_user_who_may_not_make_tables_are_named_at_once(self, mysql_server, mysql_url):
        user = make_url(mysql_url).username
        mysql_server.execute(f"REVOKE CREATE ON {user}.* FROM '{user}'@'%'")
        with pytest.raises(ConfigurationError, match="GRANT ALL ON"):
            Directory(mysql_url).prepare()

    def test_of_a_database_without_tables_name_the_command_that_makes_them(self, mysql_url):
        for call in (Directory.check, Directory.vocabulary, lambda one: one.save_alt_text(alt())):
            with pytest.raises(ConfigurationError, match="justlens setup"):
                call(Directory(mysql_url))

    @pytest.mark.parametrize(
        "option", [{"no_such_option": "1"}, {"ssl_ca": "/no/such/file"}, {"read_timeout": "soon"}]
    )
    def test_with_options_that_cannot_work_are_named(self, mysql_url, option):
        with pytest.raises(ConfigurationError, match="JUSTLENS_RELATIONAL_URL") as raised:
            Directory(altered(mysql_url, query=option)).check()
        assert str(make_url(mysql_url).password) not in str(raised.value)


@pytest.fixture(scope="module")
def secure_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database that can only be reached by TLS, on a server whose authority is named."""
    folder = tmp_path_factory.mktemp("secure")
    certificate, key = make_certificate(folder)
    options = (f"--ssl-cert={certificate}", f"--ssl-key={key}", "--require-secure-transport")
    with mariadb.started(folder, *options) as server, server.database() as url:
        yield altered(url, query={"ssl_ca": str(certificate)})


class TestTls:
    def test_carries_what_is_said_to_a_server_of_that_authority(self, secure_url):
        Directory(secure_url).prepare()
        below = Database(secure_url, TABLES)
        with below.reading() as connection:
            cipher = connection.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")).one()[1]
        assert cipher
        below.close()

    def test_keeps_away_from_a_server_of_another_authority(self, secure_url, tmp_path):
        other, _ = make_certificate(tmp_path)
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            Directory(altered(secure_url, query={"ssl_ca": str(other)})).check()

    def test_that_a_server_does_not_offer_is_named(self, tmp_path):
        authority, _ = make_certificate(tmp_path)
        with (
            mariadb.started(tmp_path / "plain") as server,
            server.database() as url,
            pytest.raises(ConfigurationError, match="ssl_"),
        ):
            Directory(altered(url, query={"ssl_ca": str(authority)})).check()


def test_numbers_are_read_back_to_the_last_bit(directory):
    text = alt(score=1 / 3, updated_at=1764000000.1234567)
    directory.save_alt_text(text)
    assert directory.alt_text("B1", 7) == text


def differences(below: Database) -> list[Any]:
    """What tells the tables of a server from those that the store works with."""
    with below.reading() as connection:
        known = [TABLES, EVENT_TABLES, QUERY_TABLES, SHADOW_TABLES, KEY_TABLES]
        return compare_metadata(MigrationContext.configure(connection), known)


def connection_id(below: Database) -> int:
    with below.reading() as connection:
        return int(connection.execute(text("SELECT CONNECTION_ID()")).scalar_one())


def connections(server: mariadb.Server, url: str) -> list[int]:
    """The connections of a database."""
    mine = f"SELECT id FROM information_schema.processlist WHERE db = '{make_url(url).database}'"
    return [number for (number,) in server.execute(mine)]


def kill_all(server: mariadb.Server, url: str) -> None:
    """Close the connections of a database from the server's side."""
    for number in connections(server, url):
        server.execute(f"KILL {number}")


def read_side_by_side(below: Database, readers: int = 4) -> None:
    """Short reads that are under way at the same time, each on a connection of its own."""
    pause = select(func.sleep(bindparam("seconds")))
    with ThreadPoolExecutor(readers) as pool:
        rows = pool.map(lambda _: below.read(pause, {"seconds": 0.3}), range(readers))
        assert list(rows) == [[(0,)]] * readers


def deadlock(below: Database, directory: Directory) -> list["Work"]:
    """Two transactions that raise the scores of two rows, and at first wait for each other."""
    for number in (1, 2):
        directory.save_alt_text(alt(number, score=0.0))
    both = threading.Barrier(2)
    works = [Work(below, both, [1, 2]), Work(below, both, [2, 1])]
    for work in works:
        work.start()
    for work in works:
        work.join(60)
    return works


class Work(threading.Thread):
    """Raises scores one after the other; has the other one raise its first before going on."""

    def __init__(self, below: Database, both: threading.Barrier, rows: list[int]) -> None:
        super().__init__()
        self.below, self.both, self.rows = below, both, rows
        self.tries = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.below.write(self.raise_scores)
        except StoreUnavailable as error:
            self.error = error

    def raise_scores(self, connection: Connection) -> None:
        self.tries += 1
        raise_score = text(
            "UPDATE alttags SET score = score + 1 WHERE docid = 'B1' AND product_id = :row"
        )
        connection.execute(raise_score, {"row": self.rows[0]})
        if self.tries == 1:
            self.both.wait(30)
        connection.execute(raise_score, {"row": self.rows[1]})


def write_alt_texts(open_directory: Callable[[], Directory], process: int) -> None:
    directory = open_directory()
    for number in range(1, ROUNDS + 1):
        # Each text is written by a person in one of the processes, and by a run in the others.
        source = "manual" if number % PROCESSES == process else "generated"
        directory.save_alt_text(alt(number, alttag=f"by {process}", source=source))
    directory.close()


def add_names(open_directory: Callable[[], Directory], process: int) -> None:
    directory = open_directory()
    for number in range(ROUNDS):
        directory.add_vocabulary([f"{process} {number}"])
    directory.close()


def prepare(open_directory: Callable[[], Directory]) -> str:
    directory = open_directory()
    directory.prepare()
    directory.add_vocabulary(["Sushi"])
    directory.close()
    return "ready"
