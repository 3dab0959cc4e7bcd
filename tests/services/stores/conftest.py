"""The stores of the ``services`` profile, each on a server, for the contract suites.

The suites are those of ``tests/unit/stores``: a module here imports one, and finds fixtures of the
same names below. Every test gets a database, bucket or collection of its own.
"""

from collections.abc import Iterator

import pytest

from pipeline.stores.documents import DocumentStore
from pipeline.stores.documents_mongo import MongoDocuments
from pipeline.stores.events import Events
from pipeline.stores.objects import ObjectStore
from pipeline.stores.objects_s3 import S3Objects
from pipeline.stores.relational import Directory
from pipeline.stores.vectors import VectorStore
from pipeline.stores.vectors_milvus import MilvusVectors
from tests.unit.stores.conftest import Opener


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


@pytest.fixture
def open_events(mysql_url: str) -> Opener:
    opener = Opener(Events, (mysql_url,))
    store = opener()
    store.prepare()
    store.close()
    return opener


@pytest.fixture
def events(open_events: Opener) -> Iterator[Events]:
    store = open_events()
    yield store
    store.close()


@pytest.fixture
def open_vectors(milvus_url: str) -> Opener:
    return Opener(MilvusVectors, (milvus_url,))


@pytest.fixture
def vectors(open_vectors: Opener) -> Iterator[VectorStore]:
    store = open_vectors()
    yield store
    store.close()


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
