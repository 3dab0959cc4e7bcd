"""The result backend, used for one thing: joining chords."""

from celery.backends.redis import RedisBackend, ResultConsumer


class _Deaf(ResultConsumer):
    """Listens for no result: by itself Celery subscribes to every member of a group it sends."""

    def consume_from(self, task_id: str) -> None:
        """Nobody waits for it."""

    def cancel_for(self, task_id: str) -> None:
        """Nobody did."""


class JoinBackend(RedisBackend):
    """Celery's Redis backend, which counts the members of a chord, without waiting for results."""

    ResultConsumer = _Deaf


def join_backend(url: str) -> str:
    """Celery's setting for this backend at the Redis or Valkey address ``url``."""
    return f"{__name__}:{JoinBackend.__name__}+{url.removeprefix('redis+')}"
