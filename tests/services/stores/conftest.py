"""The stores of the ``services`` profile, each on a server, for the contract suites.

The suites are those of ``tests/unit/stores``: a module here imports one, and finds below what opens
the stores there. Every test gets a database, bucket or collection of its own.
"""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.stores.api_keys import ApiKeys
from pipeline.stores.documents_mongo import MongoDocuments
from pipeline.stores.events import Events
from pipeline.stores.objects_s3 import S3Objects
from pipeline.stores.queries import Queries
from pipeline.stores.relational import Directory
from pipeline.stores.shadow import ShadowRecords
from pipeline.stores.vectors_milvus import MilvusVectors
from tests.unit.stores.conftest import (
    Opener,
    directory,
    documents,
    events,
    keys,
    objects,
    queries,
    shadow,
    vectors,
)

__all__ = ["directory", "documents", "events", "keys", "objects", "queries", "shadow", "vectors"]


def prepared(store: Callable[..., Any], *arguments: str) -> Opener:
    """What opens a store that is ready for use."""
    opener = Opener(store, arguments)
    opened = opener()
    opened.prepare()
    opened.close()
    return opener


@pytest.fixture
def open_documents(mongo_url: str) -> Opener:
    return prepared(MongoDocuments, mongo_url)


@pytest.fixture
def open_directory(mysql_url: str) -> Opener:
    return prepared(Directory, mysql_url)


@pytest.fixture
def open_events(mysql_url: str) -> Opener:
    return prepared(Events, mysql_url)


@pytest.fixture
def open_shadow(mysql_url: str) -> Opener:
    return prepared(ShadowRecords, mysql_url)


@pytest.fixture
def open_queries(mysql_url: str) -> Opener:
    return prepared(Queries, mysql_url)


@pytest.fixture
def open_keys(mysql_url: str) -> Opener:
    return prepared(ApiKeys, mysql_url)


@pytest.fixture
def open_vectors(milvus_url: str) -> Opener:
    return Opener(MilvusVectors, (milvus_url,))


@pytest.fixture(params=["", "/Photos/of-shops"], ids=["bucket", "prefix"])
def open_objects(request: pytest.FixtureRequest, s3_url: str) -> Opener:
    opener = Opener(S3Objects, (s3_url + request.param, "/objects/"))
    opener().prepare()
    return opener


@pytest.fixture
def s3_objects(s3_url: str) -> S3Objects:
    """The store on S3, in a bucket that is there."""
    store = S3Objects(s3_url, "/objects")
    store.prepare()
    return store
