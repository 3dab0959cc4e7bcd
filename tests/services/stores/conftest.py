"""The stores of the ``services`` profile, each on a server, for the contract suites.

The suites are those of ``tests/unit/stores``: a module here imports one, and finds fixtures of the
same names below. Every test gets a database, bucket or collection of its own.
"""

from collections.abc import Iterator

import pytest

from pipeline.stores.documents import DocumentStore
from pipeline.stores.documents_mongo import MongoDocuments
from pipeline.stores.objects import ObjectStore
from pipeline.stores.objects_s3 import S3Objects
from pipeline.stores.relational import Directory
from pipeline.stores.vectors import VectorStore
from pipeline.stores.vectors_milvus import MilvusVectors
from tests.services.servers import mariadb, milvus, mongo, s3
from tests.unit.stores.conftest import Opener


@pytest.fixture(scope="session")
def mysql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mariadb.Server]:
    """MariaDB or MySQL."""
    with mariadb.running(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture
def mysql_url(mysql_server: mariadb.Server) -> Iterator[str]:
    """An empty database of the test's own."""
    with mysql_server.database() as url:
        yield url


@pytest.fixture
def open_directory(mysql_url: str) -> Opener:
    opener = Opener(Directory, (mysql_url,))
    store = opener()
    store.prepare()
    store.close()
    return opener


@pytest.fixture
def directory(open_directory: Opener) -> Iterator[Directory]:
    store = open_directory()
    yield store
    store.close()


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[milvus.Server]:
    """Milvus or Milvus Lite."""
    with milvus.running(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture
def milvus_url(milvus_server: milvus.Server) -> Iterator[str]:
    """An address whose collections are the test's own."""
    with milvus_server.collections() as url:
        yield url


@pytest.fixture
def open_vectors(milvus_url: str) -> Opener:
    return Opener(MilvusVectors, (milvus_url,))


@pytest.fixture
def vectors(open_vectors: Opener) -> Iterator[VectorStore]:
    store = open_vectors()
    yield store
    store.close()


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mongo.Server]:
    """MongoDB, or what speaks its protocol."""
    with mongo.running(tmp_path_factory.mktemp("mongo")) as server:
        yield server


@pytest.fixture
def mongo_url(mongo_server: mongo.Server) -> Iterator[str]:
    """An empty database of the test's own."""
    with mongo_server.database() as url:
        yield url


@pytest.fixture
def open_documents(mongo_url: str) -> Opener:
    opener = Opener(MongoDocuments, (mongo_url,))
    store = opener()
    store.prepare()
    store.close()
    return opener


@pytest.fixture
def documents(open_documents: Opener) -> Iterator[DocumentStore]:
    store = open_documents()
    yield store
    store.close()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Server]:
    """S3, or what speaks its protocol."""
    with s3.running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_url(s3_server: s3.Server) -> Iterator[str]:
    """A bucket of the test's own, which nobody has made yet."""
    with s3_server.bucket() as url:
        yield url


@pytest.fixture(params=["", "/Photos/of-shops"], ids=["bucket", "prefix"])
def open_objects(request: pytest.FixtureRequest, s3_url: str) -> Opener:
    opener = Opener(S3Objects, (s3_url + request.param, "/objects/"))
    opener().prepare()
    return opener


@pytest.fixture
def objects(open_objects: Opener) -> ObjectStore:
    return open_objects()


@pytest.fixture
def s3_objects(s3_url: str) -> S3Objects:
    """The store on S3, in a bucket that is there."""
    store = S3Objects(s3_url, "/objects")
    store.prepare()
    return store
