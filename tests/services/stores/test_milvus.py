"""What the vector store does with Milvus in particular."""

import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from pymilvus import MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

from pipeline.errors import ConfigurationError, StoreUnavailable
from pipeline.stores import vectors_milvus
from pipeline.stores.vectors_milvus import Address, MilvusVectors
from tests.services.servers import free_port
from tests.unit.stores.processes import run_side_by_side
from tests.unit.stores.test_vectors import unit

pytestmark = pytest.mark.services


@pytest.fixture
def client(milvus_url: str) -> Iterator[MilvusClient]:
    """A connection beside the store's."""
    client = Address.read(milvus_url).connect()
    yield client
    client.close()


def collections(client: MilvusClient, url: str) -> list[str]:
    return [name for name in client.list_collections() if name.startswith(Address.read(url).prefix)]


class TestTheAddress:
    def test_is_read_in_full(self):
        address = Address.read(
            "milvus+tls://an%40na:p%2Fw@milvus.example/shops?index=ivf_flat&nlist=64&nprobe=8"
            "&metric=ip&consistency=bounded&prefix=a_"
        )
        assert (address.uri, address.token) == ("https://milvus.example:19530", "an@na:p/w")
        assert (address.database, address.prefix) == ("shops", "a_")
        assert (address.index, address.metric) == ("IVF_FLAT", "IP")
        assert (address.built_with, address.searched_with) == ({"nlist": 64}, {"nprobe": 8})
        assert address.consistency == "Bounded"

    def test_needs_no_more_than_a_host(self):
        address = Address.read("milvus://[::1]")
        assert (address.uri, address.token) == ("http://[::1]:19530", "")
        assert (address.database, address.prefix) == ("default", "")
        assert (address.index, address.metric) == ("HNSW", "COSINE")

    def test_may_carry_a_token(self):
        assert Address.read("milvus://to%3Aken@host:1/").token == "to:ken"

    @pytest.mark.parametrize(
        ("wrong", "named"),
        [
            ("milvus://user:secret@host/db?index=DISKANN", "'DISKANN'"),
            ("milvus://user:secret@host/db?metric=L2", "'L2'"),
            ("milvus://user:secret@host/db?consistency=none", "'none'"),
            ("milvus://user:secret@host/db?M=many", "'many'"),
            ("milvus://user:secret@host/db?ef=0", "'0'"),
            ("milvus://user:secret@host/db?nlist=16", "'nlist'"),
            ("milvus://user:secret@host/db?speed=1", "'speed'"),
            ("milvus://user:secret@host/db?prefix=a-b", "'a-b'"),
            ("milvus://user:secret@host:port/db", "'port'"),
            ("milvus://user:secret@/db", "host"),
        ],
    )
    def test_that_cannot_work_is_refused_by_what_is_wrong(self, wrong, named):
        with pytest.raises(ConfigurationError, match="JUSTLENS_VECTORS_URL") as refusal:
            MilvusVectors(wrong)
        assert named in str(refusal.value)
        assert "what works" in str(refusal.value)
        assert "secret" not in str(refusal.value)

    def test_shows_no_token(self):
        assert "secret" not in repr(Address.read("milvus://secret@host/db"))


class TestAnIndex:
    @pytest.mark.parametrize(
        ("index", "metric", "built_with"),
        [
            ("HNSW", "COSINE", {"M": 8, "efConstruction": 64}),
            ("HNSW", "IP", {"M": 16, "efConstruction": 200}),
            ("IVF_FLAT", "COSINE", {"nlist": 4}),
            ("IVF_SQ8", "IP", {"nlist": 4}),
            ("FLAT", "COSINE", {}),
            ("AUTOINDEX", "IP", {}),
        ],
    )
    def test_is_made_as_the_address_asks_and_finds_the_nearest(
        self, milvus_url, client, index, metric, built_with
    ):
        options = "".join(f"&{name}={value}" for name, value in built_with.items())
        vectors = MilvusVectors(f"{milvus_url}&index={index}&metric={metric}{options}")
        for number in range(1, 41):
            vectors.save_image("m", "picture", "B1", number, unit(number))
        (name,) = collections(client, milvus_url)
        client.flush(name)  # what is not on the disk yet is searched without the index
        made = client.describe_index(name, "vector")
        assert (made["index_type"], made["metric_type"]) == (index, metric)
        parameters = {**made, **made.get("params", {})}
        assert {one: int(parameters[one]) for one in built_with} == built_with
        assert client.describe_index(name, "business")["index_type"] == "INVERTED"
        docid, product_id, cosine = vectors.search_images("m", "picture", 2 * unit(7), 3)[0]
        assert (docid, product_id) == ("B1", 7)
        assert cosine == pytest.approx(1, abs=0.01 if index == "IVF_SQ8" else 1e-6)
        vectors.close()

    def test_other_than_the_address_asks_for_is_told_when_preparing(self, milvus_url):
        vectors = MilvusVectors(f"{milvus_url}&index=FLAT")
        vectors.save_texts("m", {"a": unit(1)})
        vectors.prepare()
        vectors.prepare()
        vectors.close()
        other = MilvusVectors(milvus_url)
        with pytest.raises(ConfigurationError, match=r"FLAT with COSINE.* HNSW with COSINE"):
            other.prepare()
        np.testing.assert_array_equal(other.texts("m", ["a"])["a"], unit(1))
        other.close()

    def test_is_made_where_a_process_was_killed_before_it_made_it(
        self, vectors, client, milvus_url
    ):
        vectors.save_texts("m", {"a": unit(1)})
        (name,) = collections(client, milvus_url)
        client.release_collection(name)
        client.drop_index(name, "vector")
        late = MilvusVectors(milvus_url)
        late.prepare()
        assert client.describe_index(name, "vector")["index_type"] == "HNSW"
        np.testing.assert_array_equal(late.texts("m", ["a"])["a"], unit(1))
        late.close()


class TestModels:
    def test_with_vectors_of_different_lengths_lie_side_by_side(self, vectors):
        vectors.save_texts("a/b@1", {"sushi": unit(1)})
        vectors.save_texts("a-b@1", {"sushi": unit(2)[:8]})
        vectors.save_texts("a" * 500, {"sushi": unit(3)[:4]})
        np.testing.assert_array_equal(vectors.texts("a/b@1", ["sushi"])["sushi"], unit(1))
        np.testing.assert_array_equal(vectors.texts("a-b@1", ["sushi"])["sushi"], unit(2)[:8])
        np.testing.assert_array_equal(vectors.texts("a" * 500, ["sushi"])["sushi"], unit(3)[:4])

    def test_have_vectors_of_one_length(self, vectors):
        with pytest.raises(ValueError, match="one length"):
            vectors.save_texts("m", {"a": unit(1), "b": unit(2)[:8]})
        vectors.save_texts("m", {"a": unit(1)})
        with pytest.raises(ValueError, match="16 numbers, not 8"):
            vectors.save_texts("m", {"b": unit(2)[:8]})

    def test_used_first_by_several_processes_at_once_get_one_collection(
        self, open_vectors, client, milvus_url
    ):
        run_side_by_side(save_and_prepare, [(open_vectors, number) for number in range(3)])
        assert len(collections(client, milvus_url)) == 1
        vectors = open_vectors()
        assert len(vectors.texts("new", ["0", "1", "2"])) == 3
        vectors.close()


def save_and_prepare(open_vectors, number: int) -> None:
    vectors = open_vectors()
    vectors.save_texts("new", {str(number): unit(number)})
    vectors.prepare()
    vectors.close()


class TestPrefixes:
    def test_keep_installations_apart(self, milvus_server):
        with milvus_server.collections() as one_url, milvus_server.collections() as other_url:
            one, other = MilvusVectors(one_url), MilvusVectors(other_url)
            one.save_image("m", "picture", "B1", 1, unit(1))
            assert other.images("m", "picture", ["B1"]) == {}
            other.save_image("m", "picture", "B1", 1, unit(2))
            other.delete_image("B1", 1)
            assert list(one.images("m", "picture", ["B1"])) == [("B1", 1)]
            one.close()
            other.close()


class TestKeys:
    @pytest.mark.parametrize("docid", ['"] or business != ["', "\\", "{docid}", "%", "'; 寿司\n"])
    def test_are_taken_as_they_are(self, vectors, docid):
        vectors.save_image("m", "picture", docid, 2**63 - 1, unit(1))
        vectors.save_image("m", "picture", "other", 1, unit(2))
        vectors.save_texts("m", {docid: unit(3)})
        assert list(vectors.images("m", "picture", [docid])) == [(docid, 2**63 - 1)]
        assert list(vectors.texts("m", [docid])) == [docid]
        vectors.delete_image(docid, 2**63 - 1)
        assert vectors.images("m", "picture", [docid]) == {}
        assert list(vectors.images("m", "picture", ["other"])) == [("other", 1)]

    def test_of_texts_longer_than_a_field_differ_by_their_ends(self, vectors):
        long = "é" * 40_000
        vectors.save_texts("m", {long + "a": unit(1), long + "b": unit(2)})
        found = vectors.texts("m", [long + "a", long + "b", long])
        np.testing.assert_array_equal(found[long + "a"], unit(1))
        np.testing.assert_array_equal(found[long + "b"], unit(2))
        assert len(found) == 2


class TestManyRows:
    def test_of_texts_are_more_than_a_query_may_return(self, vectors):
        numbers = np.random.default_rng(0).normal(size=(17_000, 2)).astype(np.float32)
        saved = {str(number): vector for number, vector in enumerate(numbers)}
        vectors.save_texts("m", saved)
        found = vectors.texts("m", list(saved))
        assert len(found) == 17_000
        np.testing.assert_array_equal(np.stack([found[text] for text in saved]), numbers)

    def test_of_one_business_are_read_page_by_page(self, vectors, monkeypatch):
        monkeypatch.setattr(vectors_milvus, "ROWS_READ", 16)
        for number in range(1, 51):
            vectors.save_image("m", "picture", "B1", number, unit(number))
            vectors.save_image("m", "picture", "B2", number, unit(number))
        found = vectors.images("m", "picture", ["B1"])
        assert set(found) == {("B1", number) for number in range(1, 51)}
        np.testing.assert_array_equal(found["B1", 33], unit(33))

    def test_are_searched_for_at_most_as_many_as_milvus_gives(self, vectors):
        vectors.save_image("m", "picture", "B1", 1, unit(1))
        assert len(vectors.search_images("m", "picture", unit(1), 1_000_000)) == 1


class TestConnections:
    def test_are_not_made_by_opening_a_store(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            MilvusVectors(f"milvus://127.0.0.1:{server.getsockname()[1]}").close()
            with pytest.raises(BlockingIOError):
                server.accept()

    def test_are_shared_by_threads(self, vectors):
        def save(number: int) -> None:
            vectors.save_image("m", "picture", "B1", number, unit(number))
            assert ("B1", number) in vectors.images("m", "picture", ["B1"])

        with futures.ThreadPoolExecutor(8) as threads:
            list(threads.map(save, range(1, 33)))
        assert len(vectors.images("m", "picture", ["B1"])) == 32

    def test_serve_a_forked_child_beside_its_parent(self, vectors):
        def save_and_read(own: str) -> bool:
            for number in range(50):
                vectors.save_texts("m", {f"{own} {number}": unit(number)})
            texts = [f"{own} {number}" for number in range(50)]
            return len(vectors.texts("m", ["before", *texts])) == 51

        vectors.save_texts("m", {"before": unit(1)})
        child = os.fork()
        if child == 0:
            succeeded = False
            try:
                succeeded = save_and_read("child")
                vectors.close()
            finally:
                os._exit(0 if succeeded else 1)
        assert save_and_read("parent")
        assert exit_status(child) == 0
        assert len(vectors.texts("m", [f"child {number}" for number in range(50)])) == 50

    def test_that_are_closed_are_made_again(self, vectors):
        vectors.save_texts("m", {"a": unit(1)})
        vectors.close()
        assert list(vectors.texts("m", ["a"])) == ["a"]

    def test_outlive_a_server_that_was_killed_and_its_data_does_too(self, vectors, milvus_server):
        if milvus_server.restart is None:
            pytest.skip("the server that was named is not ours to restart")
        saved = {str(number): unit(number) for number in range(100)}
        vectors.save_texts("m", saved)
        vectors.save_image("m", "picture", "B1", 1, unit(1))
        milvus_server.restart()
        np.testing.assert_array_equal(vectors.texts("m", list(saved))["42"], unit(42))
        assert vectors.search_images("m", "picture", unit(1), 5)[0][:2] == ("B1", 1)
        vectors.save_image("m", "picture", "B1", 2, unit(2))
        assert len(vectors.images("m", "picture", ["B1"])) == 2
        assert len(vectors.texts("m", list(saved))) == 100

    def test_to_a_collection_that_somebody_dropped_make_it_again(self, vectors, client, milvus_url):
        vectors.save_image("m", "picture", "B1", 1, unit(1))
        (name,) = collections(client, milvus_url)
        client.drop_collection(name)
        assert vectors.images("m", "picture", ["B1"]) == {}
        vectors.save_image("m", "picture", "B1", 1, unit(1))
        client.drop_collection(name)
        vectors.save_image("m", "picture", "B1", 2, unit(2))
        assert list(vectors.images("m", "picture", ["B1"])) == [("B1", 2)]


def exit_status(child: int) -> int:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("the child hangs")


class TestAServer:
    def test_that_is_not_there_is_told_within_seconds(self):
        vectors = MilvusVectors(f"milvus://user:secret@127.0.0.1:{free_port()}")
        started = time.monotonic()
        for call in calls(vectors):
            with pytest.raises(StoreUnavailable, match=r"milvus://127\.0\.0\.1") as unavailable:
                call()
            assert "secret" not in str(unavailable.value)
        assert time.monotonic() - started < 10

    def test_that_takes_connections_and_never_answers_is_told_within_seconds(self, monkeypatch):
        monkeypatch.setattr(vectors_milvus, "CONNECT_SECONDS", 1)
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            vectors = MilvusVectors(f"milvus://127.0.0.1:{silent.getsockname()[1]}")
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                vectors.check()
            assert time.monotonic() - started < 10

    def test_without_the_database_is_a_wrong_setting(self, milvus_url):
        vectors = MilvusVectors(milvus_url.replace("/default", f"/none_{secrets.token_hex(4)}"))
        for call in calls(vectors):
            with pytest.raises(ConfigurationError, match="JUSTLENS_VECTORS_URL"):
                call()
        vectors.close()

    def test_that_lets_nobody_in_is_a_wrong_setting(self, tmp_path):
        with altered_server(tmp_path) as (server, url):
            vectors = MilvusVectors(url.replace("//", "//user:secret@"))
            server.refusal = grpc.StatusCode.UNAUTHENTICATED
            for call in calls(vectors):
                with pytest.raises(ConfigurationError, match="a user or token") as refusal:
                    call()
                assert "secret" not in str(refusal.value)
            server.refusal = None
            vectors.check()
            server.refusal = grpc.StatusCode.PERMISSION_DENIED
            with pytest.raises(ConfigurationError):
                vectors.save_texts("m", {"a": unit(1)})
            vectors.close()

    @pytest.mark.parametrize(
        ("code", "error"),
        [(8, StoreUnavailable), (9, StoreUnavailable), (1401, ConfigurationError)],
    )
    def test_that_answers_with_an_error_is_told_by_its_code(
        self, tmp_path, monkeypatch, code, error
    ):
        with altered_server(tmp_path) as (server, url):
            vectors = MilvusVectors(url)
            vectors.save_texts("m", {"a": unit(1)})
            # For so long the driver asks again where a server is busy.
            monkeypatch.setattr(vectors_milvus, "CALL_SECONDS", 2.0)
            server.code = code
            with pytest.raises(error, match="told by the test"):
                vectors.texts("m", ["a"])
            vectors.close()

    def test_is_asked_to_show_what_was_just_written(self, tmp_path):
        with altered_server(tmp_path) as (server, url):
            vectors = MilvusVectors(url)
            vectors.save_texts("m", {"a": unit(1)})
            vectors.texts("m", ["a"])
            assert server.queries.pop().guarantee_timestamp == server.written_at
            vectors.save_image("m", "picture", "B1", 1, unit(1))
            vectors.images("m", "picture", ["B1"])
            asked = server.queries.pop()
            assert asked.consistency_level == common_pb2.ConsistencyLevel.Strong
            assert not asked.use_default_consistency
            vectors.search_images("m", "picture", unit(1), 1)
            assert server.queries.pop().guarantee_timestamp == server.written_at
            vectors.close()
            relaxed = MilvusVectors(f"{url}?consistency=Bounded")
            relaxed.images("m", "picture", ["B1"])
            assert server.queries.pop().consistency_level == common_pb2.ConsistencyLevel.Bounded
            relaxed.close()


def calls(vectors: MilvusVectors) -> list[Callable[[], object]]:
    return [
        vectors.check,
        vectors.prepare,
        lambda: vectors.save_texts("m", {"a": unit(1)}),
        lambda: vectors.texts("m", ["a"]),
        lambda: vectors.save_image("m", "picture", "B1", 1, unit(1)),
        lambda: vectors.images("m", "picture", ["B1"]),
        lambda: vectors.search_images("m", "picture", unit(1), 1),
        lambda: vectors.delete_image("B1", 1),
    ]


class Alterations(grpc.ServerInterceptor):
    """What a server answers otherwise than Milvus Lite, which lets everybody in and is never busy.

    It also keeps what it was asked to look up.
    """

    written_at = 450_000_000_000_000_000

    def __init__(self) -> None:
        self.refusal: grpc.StatusCode | None = None
        self.code = 0
        self.queries: list[Any] = []

    def intercept_service(self, continuation, details):
        handler = continuation(details)
        return grpc.unary_unary_rpc_method_handler(
            partial(self._answer, details.method.rpartition("/")[2], handler.unary_unary),
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _answer(self, method, answer, request, context):
        if self.refusal:
            context.abort(self.refusal, "not let in")
        if method in ("Query", "Search"):
            self.queries.append(request)
        if method == "Query" and self.code:
            status = common_pb2.Status(code=self.code, reason="told by the test")
            return milvus_pb2.QueryResults(status=status)
        response = answer(request, context)
        if method == "Upsert":
            response.timestamp = self.written_at
        return response


@contextmanager
def altered_server(folder: Path) -> Iterator[tuple[Alterations, str]]:
    pytest.importorskip("milvus_lite")
    from milvus_lite.adapter.grpc.servicer import MilvusServicer
    from milvus_lite.db import MilvusLite

    alterations = Alterations()
    data = MilvusLite(str(folder / "data"))
    server = grpc.server(futures.ThreadPoolExecutor(1), interceptors=[alterations])
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(MilvusServicer(data), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield alterations, f"milvus://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
        data.close()
