"""What only the SQLite stores promise: indexes, forks, and waiting for their turn."""

import json
import multiprocessing
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sqlalchemy import exc, text
from sqlalchemy.dialects import sqlite as dialect

from pipeline.errors import ConfigurationError, StoreUnavailable
from pipeline.records import AltTag, CatalogueImage
from pipeline.settings import Settings
from pipeline.stores import documents_sqlite, open_stores, sqlite, vectors_sqlite
from pipeline.stores.database import Database
from pipeline.stores.documents_sqlite import SqliteDocuments
from pipeline.stores.relational import Directory
from pipeline.stores.vectors_sqlite import SqliteVectors
from tests.unit.stores.test_documents import rows_of, scored


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "documents.db"


@pytest.fixture
def documents(path: Path):
    store = SqliteDocuments(f"sqlite:///{path}")
    yield store
    store.close()


def photo(product_id: int = 7) -> CatalogueImage:
    return CatalogueImage(docid="B1", product_id=product_id, sha256="a")


@pytest.mark.parametrize(
    ("statement", "searched"),
    [
        ("_READ_PAGE", "SEARCH imgrel USING PRIMARY KEY (docid=? AND catid=? AND space=?)"),
        ("_READ_RELEVANCE_OF", "SEARCH imgrel USING PRIMARY KEY (docid=? AND catid=? AND space=?)"),
        ("_READ_RELEVANCE_OF_IMAGE", "COVERING INDEX imgrel_of_image (docid=? AND product_id=?)"),
        ("_READ_OWN_ROWS", "(docid=? AND catid=? AND space=? AND product_id=?)"),
        ("_READ_SCORED", "(docid=? AND catid=? AND space=? AND product_id=?)"),
        ("_SOME_OF_SPACE", "INDEX imgrel_of_space (space=?)"),
        ("_DROP_RELEVANCE", "INDEX imgrel_of_image (docid=? AND product_id=?)"),
        ("_READ_METADATA", "(docid=? AND product_id=?)"),
        ("_READ_IMAGES_OF", "(docid=? AND product_id=?)"),
        ("_READ_IMAGES_BEHIND", "(docid=? AND product_id>?)"),
        ("_READ_WAITING", "USING INDEX images_that_wait (state=? AND moved_at<?)"),
        ("_READ_LONGEST_WAITING", "INDEX images_in_queues (<expr>=? AND <expr>=?)"),
        ("_COUNT_STATES_OF", "USING COVERING INDEX states_of_images (docid=?)"),
        ("_COUNT_FINISHED", "USING COVERING INDEX finished_images (moved_at>? AND moved_at<?)"),
        ("_COUNT_DEAD_LETTERS", "USING INDEX causes_of_dead_letters"),
    ],
)
def test_a_read_of_a_page_uses_an_index(documents, path, statement, searched):
    documents.check()
    steps = plan(path, statement)
    assert any(searched in step for step in steps), steps
    tables = ("imgrel", "metadata", "catalogue_details")
    assert not any(step.startswith(f"SCAN {table}") for step in steps for table in tables)


def test_the_images_that_were_done_last_are_read_in_the_order_of_their_index(documents, path):
    documents.check()
    images, metadata = plan(path, "_READ_LAST_STAGES")
    assert images.startswith("SCAN catalogue_details USING INDEX finished_images")
    assert metadata.startswith("SEARCH metadata USING INDEX")


@pytest.mark.parametrize(
    ("statement", "searched"),
    [
        ("_READ_IMAGES_OF", "(model=? AND kind=? AND docid=?)"),
        ("_READ_KNOWN", "image_embeddings_of_image (docid=?"),
    ],
)
def test_the_vectors_of_a_few_photos_are_found_however_many_there_are(
    tmp_path, statement, searched
):
    vectors = SqliteVectors(f"sqlite:///{tmp_path}/vectors.db")
    vectors.check()
    steps = plan(tmp_path / "vectors.db", statement, vectors_sqlite)
    assert any(searched in step for step in steps), steps
    vectors.close()


def plan(path: Path, statement: str, store: ModuleType = documents_sqlite) -> list[str]:
    """The steps in which SQLite runs a statement of a store."""
    read = getattr(store, statement)
    compiled = (text(read) if isinstance(read, str) else read).compile(dialect=dialect.dialect())
    parameters = [json.dumps([]) if name.endswith("s") else 1 for name in compiled.positiontup]
    with closing(sqlite3.connect(path)) as connection:
        explained = connection.execute(f"EXPLAIN QUERY PLAN {compiled}", parameters).fetchall()
    return [step[3] for step in explained]


def test_a_file_of_an_earlier_release_is_given_the_indexes_that_it_lacks(path):
    earlier = SqliteDocuments(f"sqlite:///{path}")
    earlier.accept_image(photo())
    earlier.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP INDEX finished_images")
    documents = SqliteDocuments(f"sqlite:///{path}")
    documents.check()
    documents.close()
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()
    assert ("finished_images",) in names


def test_a_file_of_an_earlier_release_is_given_the_columns_that_it_lacks(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE alttags (docid TEXT, product_id BIGINT, alttag TEXT, score DOUBLE,"
            " review_state TEXT, updated_at DOUBLE, source TEXT, PRIMARY KEY (docid, product_id))"
        )
        connection.execute(
            "INSERT INTO alttags VALUES ('B1', 7, 'A cup', 0.5, 'open', 1, 'manual')"
        )
        connection.commit()
    directory = Directory(f"sqlite:///{path}")
    known = directory.alt_text("B1", 7)
    assert (known.alttag, known.source, known.generation) == ("A cup", "manual", 0)
    newer = AltTag(docid="B1", product_id=7, alttag="A run", score=0.1, generation=2)
    assert directory.save_alt_text(newer).generation == 2
    directory.close()


def test_a_table_of_an_earlier_release_is_given_the_key_that_it_lacks(path):
    earlier = SqliteDocuments(f"sqlite:///{path}")
    earlier.accept_image(photo())
    earlier.save_relevance(rows_of(scored()))
    earlier.close()
    with closing(sqlite3.connect(path)) as connection:
        (made,) = connection.execute("SELECT sql FROM sqlite_master WHERE name='imgrel'").fetchone()
        old = made.replace("space VARCHAR DEFAULT '' NOT NULL, ", "").replace(
            "catid, space", "catid"
        )
        assert old.count("space") == 0
        columns = ", ".join(c[1] for c in connection.execute("PRAGMA table_info(imgrel)"))
        known = columns.replace("space, ", "")
        connection.execute("ALTER TABLE imgrel RENAME TO newer")
        connection.execute(old)
        connection.execute(f"INSERT INTO imgrel ({known}) SELECT {known} FROM newer")
        connection.execute("DROP TABLE newer")
        connection.commit()
    documents = SqliteDocuments(f"sqlite:///{path}")
    assert documents.relevance(["B1"], [3]) == [scored()]
    documents.save_relevance(rows_of(scored(space="new@2")))
    assert documents.relevance(["B1"], [3]) == [scored()]
    documents.close()


def test_every_connection_waits_logs_ahead_and_reaches_the_disk(documents):
    with documents._database.reading() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("busy_timeout", "journal_mode", "synchronous")
        }
    assert pragmas == {"busy_timeout": 30_000, "journal_mode": "wal", "synchronous": 2}


def test_a_file_with_columns_of_another_release_is_refused_and_says_what_to_do(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE imgrel (docid, catid, product_id, body NOT NULL)")
    with pytest.raises(ConfigurationError, match=r"imgrel.*body.*JUSTLENS_DATA_DIR"):
        SqliteDocuments(f"sqlite:///{path}").businesses(["B1"])


def test_nothing_is_opened_before_the_first_use(path):
    SqliteDocuments(f"sqlite:///{path}")
    assert not path.exists()


def test_a_write_waits_for_another_process_and_then_succeeds(documents, path):
    documents.accept_image(photo())
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, lambda: other.execute("ROLLBACK")).start()
    assert documents.update_image("B1", 7, 1, {"name": "waited"})
    other.close()


def test_a_database_that_stays_busy_is_an_error_that_can_be_retried(path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    documents = SqliteDocuments(f"sqlite:///{path}")
    documents.accept_image(photo())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        documents.update_image("B1", 7, 1, {"name": "x"})
    assert documents.image("B1", 7) is not None
    other.close()
    documents.close()


def test_a_folder_that_cannot_be_made_is_an_error_that_can_be_retried(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="file"):
        SqliteVectors(f"sqlite:///{tmp_path}/file/v.db").check()


def test_a_refused_write_leaves_nothing_behind_and_the_store_usable(documents):
    with pytest.raises(ZeroDivisionError), documents._database.writing() as connection:
        documents_sqlite._save_image(sqlite.driver_of(connection), photo())
        1 / 0  # noqa: B018
    assert documents.image("B1", 7) is None
    documents.accept_image(photo())
    assert documents.image("B1", 7) is not None


def test_a_patch_makes_what_metadata_of_an_earlier_release_lack(documents, path):
    documents.accept_image(photo())
    documents.patch_metadata("B1", 7, 1, {"text": "open"})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE metadata SET body = json_remove(body, '$.models')")
        connection.commit()
    assert documents.patch_metadata("B1", 7, 1, {"models.tag": "m@1", "tags": ["a"]})
    known = documents.metadata([("B1", 7)])["B1", 7]
    assert (known.text, known.models, known.tags) == ("open", {"tag": "m@1"}, ["a"])


def test_a_forked_process_and_its_parent_go_on_with_connections_of_their_own(documents, path):
    documents.accept_image(photo(1))
    context = multiprocessing.get_context("fork")
    children = [
        context.Process(target=_write_and_leave, args=(documents, number, path))
        for number in (2, 3)
    ]
    for child in children:
        child.start()
    for number in range(10, 20):
        documents.accept_image(photo(number))
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert len(documents.images(["B1"])) == 1 + 2 + 10
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _write_and_leave(documents: SqliteDocuments, product_id: int, path: Path) -> None:
    files = {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
    assert not any(file.startswith(str(path)) for file in files), files
    documents.accept_image(photo(product_id))


def test_a_fork_waits_for_the_write_of_another_thread(documents, path):
    documents.accept_image(photo(1))
    written, go_on = threading.Event(), threading.Event()

    def write_slowly():
        with documents._database.writing() as connection:
            documents_sqlite._save_image(sqlite.driver_of(connection), photo(2))
            written.set()
            go_on.wait(10)

    thread = threading.Thread(target=write_slowly)
    thread.start()
    written.wait(10)
    threading.Timer(0.2, go_on.set).start()
    child = multiprocessing.get_context("fork").Process(
        target=_write_and_leave, args=(documents, 3, path)
    )
    child.start()
    documents.accept_image(photo(4))
    child.join(60)
    thread.join()
    assert child.exitcode == 0
    assert [one.product_id for one in documents.images(["B1"])] == [1, 2, 3, 4]


def test_a_new_file_that_another_process_is_opening_is_opened_at_the_next_try():
    class Cursor:
        tries = 0

        def execute(self, _statement):
            self.tries += 1
            if self.tries < 3:
                raise sqlite3.OperationalError("database is locked")

    cursor = Cursor()
    sqlite._use_write_ahead_log(cursor)
    assert cursor.tries == 3


def test_a_search_over_several_chunks_finds_the_same(tmp_path, monkeypatch):
    vectors = SqliteVectors(f"sqlite:///{tmp_path}/v.db")
    stored = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    for number, vector in enumerate(stored):
        vectors.save_image("m", "picture", "B1", number + 1, vector)
    whole = vectors.search_images("m", "picture", stored[3], 10)
    monkeypatch.setattr(vectors_sqlite, "SEARCHED_AT_ONCE", 7)
    in_chunks = vectors.search_images("m", "picture", stored[3], 10)
    assert [key for _, key, _ in in_chunks] == [key for _, key, _ in whole]
    assert whole[0][1] == 4
    vectors.close()


def test_a_password_in_an_address_stays_out_of_errors():
    # Every error of a database begins with its name; this needs no driver of a server.
    server = Database("mysql+pymysql://u:secret@127.0.0.1:1/x", documents_sqlite.TABLES)
    with pytest.raises(StoreUnavailable) as raised, server._store_errors:
        raise exc.OperationalError("SELECT 1", {}, OSError("nobody answers"))
    assert "127.0.0.1" in str(raised.value)
    assert "nobody answers" in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("part", "setting"),
    [
        ("documents", "JUSTLENS_DOCUMENTS_URL"),
        ("relational", "JUSTLENS_RELATIONAL_URL"),
        ("vectors", "JUSTLENS_VECTORS_URL"),
        ("events", "JUSTLENS_EVENTS_URL"),
    ],
)
def test_an_address_that_cannot_work_names_its_setting(tmp_path: Path, part: str, setting: str):
    chosen = Settings(data_dir=tmp_path, **{f"{part}_url": "sqlite://u:secret@host:port/x"})
    with pytest.raises(ConfigurationError, match=setting) as raised:
        open_stores(chosen)
    assert "secret" not in str(raised.value)


def test_what_a_server_of_events_lacks_names_its_setting(tmp_path: Path):
    chosen = Settings(data_dir=tmp_path, events_url="mysql+pymysql://u:secret@127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="JUSTLENS_EVENTS_URL names no database"):
        open_stores(chosen).events.check()


def test_parameters_by_name_are_given_by_number(documents):
    numbered = sqlite._numbered("SELECT :b, ':a', :a, :b")
    assert numbered == ("SELECT ?1, ':a', ?2, ?1", ("b", "a"))
    with documents._database.reading() as connection:
        assert isinstance(sqlite.driver_of(connection), sqlite.Driver)
    with closing(sqlite3.connect(":memory:", factory=sqlite.Driver)) as driver:
        answer = driver.execute("SELECT :b, ':a', :a, :b", {"a": 1, "b": 2, "c": 3}).fetchone()
        assert answer == (2, ":a", 1, 2)
        driver.execute("CREATE TABLE numbers (one, two)")
        rows = ({"two": number + 1, "one": number} for number in range(3))
        driver.executemany("INSERT INTO numbers VALUES (:one, :two)", rows)
        assert driver.execute("SELECT * FROM numbers").fetchall() == [(0, 1), (1, 2), (2, 3)]
        assert driver.execute("SELECT ?", (7,)).fetchone() == (7,)


def test_a_path_of_a_patch_may_have_a_quote_in_it(documents):
    documents.accept_image(photo())
    for value in (0.5, None):
        assert documents.patch_metadata("B1", 7, 1, {"measures.it's": value, "one_class": True})
    assert documents.metadata([("B1", 7)])["B1", 7].measures == {"it's": None}
