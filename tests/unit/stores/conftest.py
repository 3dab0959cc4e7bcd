"""The stores under test.

The contract suites know a store by its interface alone, and open it through a fixture that can be
sent to another process. Another conftest with fixtures of these names runs them on other stores.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.stores.documents import DocumentStore
from pipeline.stores.documents_sqlite import SqliteDocuments
from pipeline.stores.events import Events
from pipeline.stores.objects import ObjectStore
from pipeline.stores.objects_folder import FolderObjects
from pipeline.stores.relational import Directory
from pipeline.stores.vectors import VectorStore
from pipeline.stores.vectors_sqlite import SqliteVectors


@dataclass(frozen=True)
class Opener:
    """Opens one store, here or in another process."""

    store: Callable[..., Any]
    arguments: tuple[str, ...]

    def __call__(self) -> Any:
        return self.store(*self.arguments)


DOCUMENTS = {"sqlite": lambda folder: Opener(SqliteDocuments, (f"sqlite:///{folder}/new/d.db",))}
DIRECTORIES = {"sqlite": lambda folder: Opener(Directory, (f"sqlite:///{folder}/new/r.db",))}
OBJECTS = {"folder": lambda folder: Opener(FolderObjects, (f"file://{folder}/new", "/objects/"))}
EVENTS = {"sqlite": lambda folder: Opener(Events, (f"sqlite:///{folder}/new/e.db",))}
VECTORS = {"sqlite": lambda folder: Opener(SqliteVectors, (f"sqlite:///{folder}/new/v.db",))}


@pytest.fixture(params=DOCUMENTS)
def open_documents(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return DOCUMENTS[request.param](tmp_path)


@pytest.fixture
def documents(open_documents: Opener) -> Iterator[DocumentStore]:
    store = open_documents()
    yield store
    store.close()


@pytest.fixture(params=DIRECTORIES)
def open_directory(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return DIRECTORIES[request.param](tmp_path)


@pytest.fixture
def directory(open_directory: Opener) -> Iterator[Directory]:
    store = open_directory()
    yield store
    store.close()


@pytest.fixture(params=OBJECTS)
def open_objects(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return OBJECTS[request.param](tmp_path)


@pytest.fixture
def objects(open_objects: Opener) -> ObjectStore:
    return open_objects()


@pytest.fixture(params=VECTORS)
def open_vectors(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return VECTORS[request.param](tmp_path)


@pytest.fixture
def vectors(open_vectors: Opener) -> Iterator[VectorStore]:
    store = open_vectors()
    yield store
    store.close()


@pytest.fixture(params=EVENTS)
def open_events(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return EVENTS[request.param](tmp_path)


@pytest.fixture
def events(open_events: Opener) -> Iterator[Events]:
    store = open_events()
    yield store
    store.close()
