"""The result backend, used for one thing: joining chords."""

from collections.abc import Mapping

import redis
from celery.backends.redis import RedisBackend, ResultConsumer
from celery.result import AsyncResult

from pipeline.errors import BrokerUnavailable


class _Deaf(ResultConsumer):
    """Listens for no result: by itself Celery subscribes to every member of a group it sends."""

    def consume_from(self, task_id: str) -> None:
        """Nobody waits for it."""

    def cancel_for(self, task_id: str) -> None:
        """Nobody did."""


class JoinBackend(RedisBackend):
    """Celery's Redis backend, which counts the members of a chord, without waiting for results."""

    ResultConsumer = _Deaf

    def add_pending_result(
        self, result: AsyncResult, weak: bool = False, start_drainer: bool = True
    ) -> AsyncResult:
        """Nobody waits for it: Celery would keep the members of every group for good."""
        return result


def join_backend(url: str) -> str:
    """Celery's setting for this backend at the Redis or Valkey address ``url``."""
    return f"{__name__}:{JoinBackend.__name__}+{url.removeprefix('redis+')}"


def server_version(about: Mapping[str, object]) -> str:
    """The name and version in what a server of this kind says of itself."""
    if "valkey_version" in about:
        return f"Valkey {about['valkey_version']}"
    return f"Redis {about['redis_version']}"


def join_server(url: str) -> str:
    """Which server joins the chords, and in which version; for people.

    Raises:
        BrokerUnavailable: it does not answer.
    """
    address = url.replace("redis+socket://", "unix://").replace("virtual_host=", "db=")
    try:
        with redis.Redis.from_url(address, socket_connect_timeout=3, socket_timeout=3) as client:
            return server_version(client.info("server"))
    except redis.RedisError as error:
        raise BrokerUnavailable(f"the server that joins chords does not answer: {error}") from error
