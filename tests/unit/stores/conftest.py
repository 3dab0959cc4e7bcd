"""The stores under test.

The contract suites know a store by its interface alone, and open it through a fixture that can be
sent to another process. Another conftest with fixtures of those names runs them on other stores.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.stores.api_keys import ApiKeys
from pipeline.stores.documents import DocumentStore
from pipeline.stores.documents_sqlite import SqliteDocuments
from pipeline.stores.events import Events
from pipeline.stores.objects import ObjectStore
from pipeline.stores.objects_folder import FolderObjects
from pipeline.stores.queries import Queries
from pipeline.stores.relational import Directory
from pipeline.stores.shadow import ShadowRecords
from pipeline.stores.vectors import VectorStore
from pipeline.stores.vectors_sqlite import SqliteVectors


@dataclass(frozen=True)
class Opener:
    """Opens one store, here or in another process."""

    store: Callable[..., Any]
    arguments: tuple[str, ...]

    def __call__(self) -> Any:
        return self.store(*self.arguments)


@pytest.fixture
def open_documents(tmp_path: Path) -> Opener:
    return Opener(SqliteDocuments, (f"sqlite:///{tmp_path}/new/d.db",))


@pytest.fixture
def open_directory(tmp_path: Path) -> Opener:
    return Opener(Directory, (f"sqlite:///{tmp_path}/new/r.db",))


@pytest.fixture
def open_objects(tmp_path: Path) -> Opener:
    return Opener(FolderObjects, (f"file://{tmp_path}/new", "/objects/"))


@pytest.fixture
def open_vectors(tmp_path: Path) -> Opener:
    return Opener(SqliteVectors, (f"sqlite:///{tmp_path}/new/v.db",))


@pytest.fixture
def open_events(tmp_path: Path) -> Opener:
    return Opener(Events, (f"sqlite:///{tmp_path}/new/e.db",))


@pytest.fixture
def open_shadow(tmp_path: Path) -> Opener:
    return Opener(ShadowRecords, (f"sqlite:///{tmp_path}/new/e.db",))


@pytest.fixture
def open_queries(tmp_path: Path) -> Opener:
    return Opener(Queries, (f"sqlite:///{tmp_path}/new/e.db",))


@pytest.fixture
def open_keys(tmp_path: Path) -> Opener:
    return Opener(ApiKeys, (f"sqlite:///{tmp_path}/new/r.db",))


@pytest.fixture
def documents(open_documents: Opener) -> Iterator[DocumentStore]:
    store = open_documents()
    yield store
    store.close()


@pytest.fixture
def directory(open_directory: Opener) -> Iterator[Directory]:
    store = open_directory()
    yield store
    store.close()


@pytest.fixture
def objects(open_objects: Opener) -> ObjectStore:
    return open_objects()


@pytest.fixture
def vectors(open_vectors: Opener) -> Iterator[VectorStore]:
    store = open_vectors()
    yield store
    store.close()


@pytest.fixture
def events(open_events: Opener) -> Iterator[Events]:
    store = open_events()
    yield store
    store.close()


@pytest.fixture
def shadow(open_shadow: Opener) -> Iterator[ShadowRecords]:
    store = open_shadow()
    yield store
    store.close()


@pytest.fixture
def queries(open_queries: Opener) -> Iterator[Queries]:
    store = open_queries()
    yield store
    store.close()


@pytest.fixture
def keys(open_keys: Opener) -> Iterator[ApiKeys]:
    store = open_keys()
    yield store
    store.close()
