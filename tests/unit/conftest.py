"""A directory of shops behind the whole application, made once for the tests that only read."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create
from api.wiring import Services
from tests.shops import Outbox, open_shops


@pytest.fixture(scope="session")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """For reading only."""
    return open_shops(tmp_path_factory.mktemp("shops"))


@pytest.fixture(scope="session")
def reader(shops: Services) -> Iterator[TestClient]:
    """Asks the application; what it serves stays as it is."""
    with TestClient(create(lambda: shops), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def outbox() -> Outbox:
    """What the application of ``writer`` has sent to the broker."""
    return Outbox()


@pytest.fixture
def own_shops(tmp_path: Path, outbox: Outbox) -> Services:
    """Shops of the test's own."""
    return open_shops(tmp_path, outbox)


@pytest.fixture
def writer(own_shops: Services) -> Iterator[TestClient]:
    """Asks an application of the test's own."""
    with TestClient(create(lambda: own_shops), raise_server_exceptions=False) as client:
        yield client
