"""The servers as fixtures: each is started once, and every test gets a part of its own."""

import os
from collections.abc import Iterator

import pytest
import redis

from tests.services.servers import mariadb, milvus, mongo, rabbitmq, s3

REDIS_SETTING = "JUSTLENS_TEST_REDIS_URL"
# Test processes that run side by side must not remove each other's keys.
REDIS_DEFAULT = (
    f"redis://127.0.0.1:6379/{9 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])}"
)


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


@pytest.fixture
def redis_url() -> Iterator[str]:
    """A Redis or Valkey that runs; what the test leaves in it is removed."""
    url = os.environ.get(REDIS_SETTING, REDIS_DEFAULT)
    with redis.Redis.from_url(url) as client:
        try:
            before = set(client.scan_iter(count=1000))
        except redis.ConnectionError:
            pytest.skip(f"no Redis answers at {url}; {REDIS_SETTING} may name another")
        yield url
        left = set(client.scan_iter(count=1000)) - before
        if left:
            client.delete(*left)


@pytest.fixture(scope="session")
def rabbitmq_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A virtual host of this run's own."""
    with rabbitmq.virtual_host(tmp_path_factory.mktemp("rabbitmq")) as url:
        yield url


@pytest.fixture
def rabbitmq_url(rabbitmq_host: str) -> Iterator[str]:
    """The same, with nothing in its queues."""
    yield rabbitmq_host
    rabbitmq.purge(rabbitmq_host)
