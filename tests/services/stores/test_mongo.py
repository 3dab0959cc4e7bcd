"""What is MongoDB's own: addresses, indexes, forks, and races that no transaction decides."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import mongoengine
import pytest
from pymongo import MongoClient, monitoring
from pymongo.database import Database

from pipeline.errors import ConfigurationError, StoreUnavailable
from pipeline.records import ANY_CATEGORY, ImageState, StageRecord
from pipeline.stores import documents_mongo
from pipeline.stores.documents_mongo import MongoDocuments
from pipeline.stores.mongo import MongoServer
from pipeline.stores.mongo_collections import KINDS, StoredImage
from tests.processes import FRESH
from tests.services.servers import mongo
from tests.unit.stores.conftest import Opener
from tests.unit.stores.processes import run_and_kill, run_side_by_side
from tests.unit.stores.test_documents import KEY, letter, photo, rows_of, scored

pytestmark = pytest.mark.services

CATEGORIES = (ANY_CATEGORY, 3, 4, 5)


@pytest.fixture
def database(mongo_url: str) -> Iterator[Database[dict[str, object]]]:
    """What the store has written, as it lies there."""
    with MongoClient(mongo_url) as client:
        yield client.get_default_database()


@pytest.fixture
def other(open_documents: Opener) -> Iterator[MongoDocuments]:
    """A second store at the same address, as another process has it."""
    store = open_documents()
    yield store
    store.close()


class TestAddress:
    def client_of(self, url):
        server = MongoServer(url, KINDS)
        images = server.collection(StoredImage)
        server.close()
        return images, images.database.client

    def test_says_nothing_and_writes_are_confirmed_by_the_majority_and_reads_stay(self):
        images, client = self.client_of("mongodb://127.0.0.1:1/shop")
        assert images.full_name == "shop.catalogue_details"
        assert images.write_concern.document == {"w": "majority", "j": True, "wtimeout": 10_000}
        assert images.read_concern.level == "majority"
        options = client.options
        assert options.retry_writes
        assert options.server_selection_timeout == 3
        assert options.pool_options.socket_timeout == 20
        assert options.pool_options.max_pool_size == 40

    def test_comes_before_what_holds_otherwise(self):
        images, client = self.client_of(
            "mongodb://127.0.0.1:1/shop?W=1&journal=false&readconcernlevel=local&maxPoolSize=3"
            "&serverSelectionTimeoutMS=50&retryWrites=false&wtimeoutMS=5"
        )
        assert images.write_concern.document == {"w": 1, "j": False, "wtimeout": 5}
        assert images.read_concern.level == "local"
        assert client.options.pool_options.max_pool_size == 3
        assert client.options.server_selection_timeout == 0.05
        assert not client.options.retry_writes

    def test_names_the_replica_set_the_user_and_where_the_user_is_known(self):
        _, client = self.client_of(
            "mongodb://shop:p%40%3A%2F@127.0.0.1:1,127.0.0.1:2/shop?replicaSet=rs0&authSource=admin"
        )
        assert client.topology_description.replica_set_name == "rs0"
        assert client.topology_description.server_descriptions().keys() == {
            ("127.0.0.1", 1),
            ("127.0.0.1", 2),
        }
        user = client.options.pool_options._credentials
        assert (user.username, user.password, user.source) == ("shop", "p@:/", "admin")

    def test_may_send_pages_to_secondaries_and_nothing_that_decides(self):
        images, client = self.client_of("mongodb://127.0.0.1:1/s?readPreference=secondaryPreferred")
        assert client.read_preference.name == "SecondaryPreferred"
        assert images.read_preference.name == "Primary"

    @pytest.mark.parametrize(
        "url",
        [
            "mongodb://user:secret@host",
            "mongodb://user:secret@host/db?speed=1",
            "mongodb://user:secret@host/db?tls=perhaps",
            "mongodb://user:secret@host/db?w=0",
            "mongodb://user:secret@host:port/db",
            "mongodb://user:sec/secret@host/db",
            "mongodb://user:1?secret@host/db",
            "mongodb://user:sec:secret@host/db",
            "mongodb://user:secret@/db",
            "mongodb+srv://user:sec/secret@host/db",
        ],
    )
    def test_that_cannot_work_is_refused_without_its_password(self, url):
        with pytest.raises(ConfigurationError, match="JUSTLENS_DOCUMENTS_URL") as refusal:
            MongoDocuments(url)
        assert "secret" not in str(refusal.value)

    def test_with_a_certificate_that_is_not_there_is_a_mistake_in_it(self, tmp_path):
        with pytest.raises(ConfigurationError, match=r"none\.pem"):
            MongoDocuments(f"mongodb://host/db?tls=true&tlsCAFile={tmp_path}/none.pem")

    @pytest.mark.timeout(30)
    def test_where_nobody_answers_is_a_store_that_is_away(self):
        documents = MongoDocuments("mongodb://user:secret@127.0.0.1:1/db")
        for call in (documents.check, documents.prepare, lambda: documents.value("v")):
            with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1") as trouble:
                call()
            assert "secret" not in str(trouble.value)
        documents.close()


class TestServers:
    def test_let_in_a_user_and_refuse_a_wrong_password(self, tmp_path):
        with mongo.started(tmp_path) as server, server.client() as client:
            roles = [{"role": "root", "db": "admin"}]
            client.admin.command("createUser", "shop", pwd="p@:/", roles=roles)
        with mongo.started(tmp_path, "--auth") as server:
            place = server.url.removeprefix("mongodb://")
            right = MongoDocuments(f"mongodb://shop:p%40%3A%2F@{place}db?authSource=admin")
            right.save_value("v", 1)
            assert right.value("v") == 1
            wrong = MongoDocuments(f"mongodb://shop:secret@{place}db?authSource=admin")
            with pytest.raises(ConfigurationError, match="JUSTLENS_DOCUMENTS_URL") as refusal:
                wrong.value("v")
            assert "secret" not in str(refusal.value)
            right.close()
            wrong.close()

    def test_are_spoken_to_over_tls(self, tmp_path):
        certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
        make_certificate(certificate, key)
        options = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
        address = f"/?tls=true&tlsCAFile={certificate}"
        with mongo.started(tmp_path, *options, address=address) as server:
            documents = MongoDocuments(server.url.replace("/?", "/db?"))
            documents.save_value("v", 1)
            assert documents.value("v") == 1
            documents.close()
            strangers = server.url.replace("/?", "/db?").partition("&tlsCAFile")[0]
            with pytest.raises(StoreUnavailable, match="certificate verify failed"):
                MongoDocuments(strangers).check()

    def test_may_stand_alone(self, tmp_path):
        with mongo.started(tmp_path, "--standalone", address="/db") as server:
            documents = MongoDocuments(server.url)
            documents.prepare()
            documents.accept_image(photo())
            assert documents.patch_metadata(*KEY, 1, {"tags": ["a"]})
            assert documents.save_relevance(rows_of(scored()))
            assert documents.relevance(["B1"], [3]) == [scored()]
            assert documents.delete_image(*KEY)
            assert documents.relevance(["B1"], [3]) == []
            documents.close()


class TestPreparation:
    def test_makes_the_indexes_however_often_and_by_whom_it_is_done(self, open_documents, database):
        run_side_by_side(prepare, [(open_documents,)] * 3)
        pages = database.imgrel.index_information()["page_of_space"]
        assert pages["key"] == [*(("space", 1), ("docid", 1), ("catid", 1), ("product_id", 1))]
        assert pages["unique"]
        deliveries = database.deliveries.index_information()["counted_at_1"]
        assert deliveries["expireAfterSeconds"] == 30 * 86400
        assert len(database.catalogue_details.index_information()) == 8
        assert len(database.pixel_facts.index_information()) == 2
        assert len(database.metadata.index_information()) == 2
        assert len(database.dead_letters.index_information()) == 5

    def test_puts_scores_of_a_release_without_spaces_into_the_first_one(self, documents, database):
        documents.accept_image(photo())
        documents.save_relevance(rows_of(scored()))
        database.imgrel.update_many({}, {"$unset": {"space": ""}})
        of_image = database.catalogue_details.find_one({})["relevance"]
        before = [{k: v for k, v in one.items() if k != "space"} for one in of_image]
        database.catalogue_details.update_one({}, {"$set": {"relevance": before}})
        database.imgrel.drop_index("page_of_space")
        old = [("docid", 1), ("catid", 1), ("product_id", 1)]
        database.imgrel.create_index(old, unique=True, name="page")
        documents.prepare()
        assert documents.relevance(["B1"], [3]) == [scored()]
        documents.save_relevance(rows_of(scored(space="new@2")))
        assert documents.patch_relevance(*KEY, 1, {"quality": 5.0})
        assert documents.relevance(["B1"], [3]) == [scored(quality=5.0)]

    def test_that_was_forgotten_is_what_a_page_asks_for(self, documents, database):
        documents.accept_image(photo())
        documents.save_relevance(rows_of(scored()))
        database.imgrel.drop_index("page_of_space")
        with pytest.raises(ConfigurationError, match="justlens setup"):
            documents.page({"B1": [3]})

    def test_lets_a_page_be_read_by_one_command_and_its_index(
        self, open_documents, database, monkeypatch
    ):
        asked = Commands()
        connect = partial(mongoengine.connect, event_listeners=[asked])
        monkeypatch.setattr(mongoengine, "connect", connect)
        documents = open_documents()
        for number in range(1, 201):
            documents.accept_image(photo(product_id=number))
            documents.save_relevance(rows_of(scored(product_id=number)))
        asked.commands.clear()
        page = documents.page({"B1": [3], "B2": [4]})
        assert len(page["B1"].scores[3].values) == 200
        documents.close()
        [page] = asked.commands
        command = {name: page[name] for name in ("find", "filter", "hint")}
        plan = database.command("explain", command)["queryPlanner"]["winningPlan"]
        assert plan["inputStage"]["indexName"] == "page_of_space"


class TestRecords:
    def test_of_a_newer_release_beside_this_one_can_be_read(self, documents, database):
        documents.accept_image(photo())
        documents.patch_metadata(*KEY, 1, {"tags": ["a"]})
        documents.save_relevance(rows_of(scored()))
        for collection in ("catalogue_details", "metadata", "imgrel"):
            database[collection].update_many({}, {"$set": {"colour": "red"}})
        assert documents.image(*KEY).sha256 == "a"
        assert documents.metadata([KEY])[KEY].tags == ["a"]
        assert documents.patch_metadata(*KEY, 1, {"tags": ["b"]})
        assert documents.relevance(["B1"], [3]) == [scored()]
        assert documents.images(["B1"])[0].sha256 == "a"

    def test_keep_names_with_dots_and_numbers_that_bson_has_not(self, documents):
        fact = {"a.b": {"$c": 2**70}}
        documents.save_pixel_fact("s", "labels", "m/1.0", fact)
        assert documents.pixel_fact("s", "labels", "m/1.0") == fact
        documents.park(letter(kwargs={"a\x00.$b": 2**70}, product_id=2**70))
        [parked] = documents.dead_letters()
        assert (parked.kwargs, parked.product_id) == ({"a\x00.$b": 2**70}, 2**70)
        documents.accept_image(photo())
        documents.save_relevance(rows_of(scored(parts={"1.5.x": 0.5})))
        assert documents.relevance(["B1"], [3])[0].parts == {"1.5.x": 0.5}

    def test_have_numbers_as_their_fields_say(self, documents, database):
        documents.accept_image(photo(product_id=2**63 - 1, moved_at=5))
        stored = database.catalogue_details.find_one()
        assert stored["product_id"] == 2**63 - 1
        assert isinstance(stored["moved_at"], float)
        documents.patch_metadata("B1", 2**63 - 1, 1, {"quality": 80})
        assert isinstance(database.metadata.find_one()["quality"], float)


class TestForks:
    def test_have_connections_of_their_own_and_leave_those_of_their_parent(self, documents):
        documents.save_value("v", "parent's")
        receiver, sender = FRESH.Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            try:
                sender.send(documents.value("v"))
                documents.save_value("w", "child's")
                documents.close()
            finally:
                os._exit(0)
        assert receiver.poll(30)
        assert receiver.recv() == "parent's"
        assert os.waitpid(child, 0) == (child, 0)
        assert documents.value("w") == "child's"

    def test_do_not_get_the_client_of_their_parent(self, mongo_url):
        server = MongoServer(mongo_url, KINDS)
        client = server.collection(StoredImage).database.client
        child = os.fork()
        if child == 0:
            os._exit(1 if server.collection(StoredImage).database.client is client else 0)
        assert os.waitpid(child, 0) == (child, 0)
        assert server.collection(StoredImage).database.client is client
        server.close()

    def test_of_a_store_never_used_connect_for_themselves(self, open_documents):
        stores = [open_documents(), open_documents()]
        stores[0].save_value("v", 1)
        child = os.fork()
        if child == 0:
            os._exit(0 if stores[1].value("v") == 1 else 1)
        assert os.waitpid(child, 0) == (child, 0)
        for store in stores:
            store.close()

    def test_do_not_end_the_other_stores_at_the_same_address(self, documents, other):
        documents.save_value("v", 1)
        assert other.value("v") == 1
        other.close()
        assert documents.value("v") == 1


class TestSlowWrites:
    """A writer is overtaken between what it reads and what it writes."""

    def overtaken(self, open_documents, monkeypatch, step, overtaking):
        """A store whose first call of ``step`` waits until ``overtaking`` is done."""
        store = open_documents()
        original, calls = getattr(store, step), []

        def slow(*arguments):
            calls.append(arguments)
            if len(calls) == 1:
                overtaking()
            return original(*arguments)

        monkeypatch.setattr(store, step, slow)
        return store

    @pytest.fixture
    def row(self, documents):
        documents.accept_image(photo())
        documents.save_relevance(rows_of(scored(), scored(4)))

    @pytest.mark.parametrize("metadata", ["known", "none", "emptied"])
    @pytest.mark.parametrize("what", ["delete", "replace"])
    def test_of_metadata_find_nothing_to_change(
        self, documents, open_documents, monkeypatch, row, what, metadata
    ):
        generation = 1
        if metadata == "known":
            documents.patch_metadata(*KEY, 1, {"tags": ["old"]})
        elif metadata == "emptied":
            generation = documents.accept_image(photo("second"))[0].generation
        step = "_patched" if metadata == "known" else "_begun"
        slow = self.overtaken(open_documents, monkeypatch, step, lambda: overtake(documents, what))
        assert not slow.patch_metadata(*KEY, generation, {"tags": ["slow"]})
        assert documents.metadata([KEY]) == {}
        slow.close()

    @pytest.mark.parametrize("what", ["delete", "replace"])
    @pytest.mark.parametrize("step", ["_changed", "_settle"])
    def test_of_scores_do_not_come_back(
        self, documents, open_documents, monkeypatch, row, what, step
    ):
        slow = self.overtaken(open_documents, monkeypatch, step, lambda: overtake(documents, what))
        came_first = step == "_settle"
        assert slow.save_relevance(rows_of(scored(4), scored(5))) is came_first
        assert documents.relevance(["B1"], CATEGORIES) == []
        slow.close()

    def test_of_scores_of_the_same_generation_give_way_to_the_later_ones(
        self, documents, open_documents, monkeypatch, row
    ):
        later = rows_of(scored(3, score=0.9), scored(5))
        slow = self.overtaken(
            open_documents, monkeypatch, "_settle", lambda: documents.save_relevance(later)
        )
        assert slow.save_relevance(rows_of(scored(3, score=0.1), scored(4)))
        found = documents.relevance(["B1"], CATEGORIES)
        assert sorted(found, key=lambda one: one.catid) == later
        slow.close()

    def test_of_a_row_are_decided_again(self, documents, open_documents, monkeypatch, row):
        slow = self.overtaken(
            open_documents,
            monkeypatch,
            "_changed",
            lambda: documents.update_image(*KEY, 1, {"width": 9}),
        )
        assert slow.update_image(*KEY, 1, {"height": 8})
        image = documents.image(*KEY)
        assert (image.width, image.height) == (9, 8)
        slow.close()

    def test_of_a_part_are_refused_when_the_rest_was_taken_away(
        self, documents, open_documents, monkeypatch, row
    ):
        ended = StageRecord(key="k", outcome="done", ended_at=1.0).model_dump(mode="json")
        documents.patch_metadata(*KEY, 1, {"stages.tag": ended})
        slow = self.overtaken(
            open_documents,
            monkeypatch,
            "_patched",
            lambda: documents.patch_metadata(*KEY, 1, {"stages": {}}),
        )
        with pytest.raises(ValueError):
            slow.patch_metadata(*KEY, 1, {"stages.tag.detail": "half"})
        assert documents.metadata([KEY])[KEY].stages == {}
        slow.close()


class TestKilledProcesses:
    @pytest.fixture
    def half_deleted(self, documents, open_documents):
        documents.accept_image(photo())
        documents.patch_metadata(*KEY, 1, {"tags": ["old"]})
        documents.save_relevance(rows_of(scored()))
        run_and_kill(delete_half, open_documents)
        assert documents.image(*KEY).state is ImageState.DELETED

    def test_leave_nothing_of_a_deleted_image_once_the_reconciler_looks(
        self, documents, half_deleted
    ):
        assert documents.waiting_images(ImageState.QUEUED, before=0.0) == []
        assert documents.metadata([KEY]) == {}
        assert documents.relevance(["B1"], [3]) == []

    def test_leave_nothing_of_a_deleted_image_once_it_is_deleted_again(
        self, documents, half_deleted
    ):
        assert not documents.delete_image(*KEY)
        assert documents.metadata([KEY]) == {}
        assert documents.relevance(["B1"], [3]) == []

    def test_leave_no_scores_that_pages_do_not_get_to_see(self, documents, open_documents):
        documents.accept_image(photo())
        run_and_kill(score_half, open_documents)
        assert documents.relevance(["B1"], [3]) == []
        documents.waiting_images(ImageState.QUEUED, before=0.0)
        assert documents.relevance(["B1"], [3]) == [scored()]


class TestRaces:
    def test_no_old_generation_writes_once_a_new_photo_is_accepted(
        self, documents, open_documents, database
    ):
        documents.accept_image(photo("0"))
        done = FRESH.Event()
        writers = [(open_documents, done, number) for number in range(3)]
        replacing = [(open_documents, done, -1)]
        *written, generations = run_side_by_side(write_or_replace, writers + replacing)
        assert generations == REPLACEMENTS
        assert all(count > 0 for count in written)
        current = documents.image(*KEY).generation
        assert current == REPLACEMENTS + 1
        for collection in (database.metadata, database.imgrel):
            known = collection.distinct("generation", {"dropped": False})
            assert set(known) <= {current}

    def test_a_patch_of_scores_is_seen_in_all_categories_or_in_none(
        self, documents, open_documents
    ):
        documents.accept_image(photo())
        documents.save_relevance(rows_of(*(scored(catid) for catid in CATEGORIES[1:])))
        run_side_by_side(patch_alts, [(open_documents, name) for name in "abc"])
        rows = documents.relevance(["B1"], CATEGORIES)
        assert len(rows) == len(CATEGORIES)
        assert len({row.card.alt for row in rows}) == 1
        assert {name: rows[0].parts[name] for name in "abc"} == dict.fromkeys("abc", PATCHES - 1)

    def test_the_latest_version_stands_whoever_inserts_first(self, database):
        versions = range(8)
        with ThreadPoolExecutor(len(versions)) as threads:
            for number in range(ROUNDS):
                start = threading.Barrier(len(versions))

                def supersede(version, number=number, start=start):
                    start.wait(10)
                    document = {"_id": number, "version": version}
                    documents_mongo._supersede(database.any, [document], ["_id"], "version")

                list(threads.map(supersede, versions))
        assert database.any.distinct("version") == [versions[-1]]

    def test_threads_open_one_store_at_once(self, open_documents):
        documents = open_documents()
        start, found = threading.Barrier(8), []

        def use():
            start.wait(10)
            found.append(documents.value("none"))

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [None] * 8
        documents.close()


REPLACEMENTS = 12
PATCHES = 10
ROUNDS = 20


class Commands(monitoring.CommandListener):
    """The reading commands that a client has sent."""

    def __init__(self) -> None:
        self.commands: list[dict[str, object]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in {"find", "getMore", "aggregate"}:
            self.commands.append(dict(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def overtake(documents, what):
    if what == "delete":
        assert documents.delete_image(*KEY)
    else:
        assert documents.accept_image(photo("new"))[1]


def make_certificate(certificate: Path, key: Path) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    subprocess.run(
        [
            *(program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )


def prepare(open_documents: Opener) -> None:
    documents = open_documents()
    documents.prepare()
    documents.close()


def delete_half(open_documents: Opener) -> None:
    documents_mongo._supersede = die
    open_documents().delete_image(*KEY)


def score_half(open_documents: Opener) -> None:
    documents_mongo._supersede = die
    open_documents().save_relevance(rows_of(scored()))


def die(*_arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def write_or_replace(open_documents: Opener, done: threading.Event, writer: int) -> int:
    """Write of whatever generation there is until ``done``, or, as writer -1, replace the photo.

    Returns how many writes or replacements there were.
    """
    documents = open_documents()
    count = 0
    try:
        if writer < 0:
            for number in range(REPLACEMENTS):
                generation = documents.accept_image(photo(f"{number + 1}"))[0].generation
                assert all(
                    row.generation == generation for row in documents.relevance(["B1"], CATEGORIES)
                )
                known = documents.metadata([KEY]).get(KEY)
                assert known is None or known.generation == generation
                count += 1
            return count
        while not done.is_set():
            generation = documents.image(*KEY).generation
            count += documents.patch_metadata(*KEY, generation, {f"models.m{writer}": "m"})
            scores = [scored(catid, generation=generation) for catid in {CATEGORIES[1 + writer], 5}]
            rows = rows_of(*scores)
            count += documents.save_relevance(rows)
            count += documents.patch_relevance(*KEY, generation, {"card.alt": f"{writer}"})
        return count
    finally:
        if writer < 0:
            done.set()
        documents.close()


def patch_alts(open_documents: Opener, name: str) -> None:
    documents = open_documents()
    for number in range(PATCHES):
        patch = {"card.alt": f"{name}{number}", f"parts.{name}": float(number)}
        assert documents.patch_relevance(*KEY, 1, patch)
    documents.close()
