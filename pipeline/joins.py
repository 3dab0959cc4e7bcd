"""The result backend, used for one thing: joining chords."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import redis
from celery import states
from celery.backends.redis import RedisBackend, ResultConsumer
from celery.canvas import maybe_signature
from celery.result import AsyncResult

from pipeline.errors import BrokerUnavailable


class _Deaf(ResultConsumer):
    """Listens for no result: by itself Celery subscribes to every member of a group it sends."""

    def consume_from(self, task_id: str) -> None:
        """Nobody waits for it."""

    def cancel_for(self, task_id: str) -> None:
        """Nobody did."""


# Whether all members have ended, now that one more has.
_JOINED = """
redis.call('SADD', KEYS[1], ARGV[1])
if ARGV[2] ~= '0' then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
local size = redis.call('GET', KEYS[2])
return size and redis.call('SCARD', KEYS[1]) == tonumber(size)
"""


class DeafBackend(RedisBackend):
    """Celery's Redis backend, which keeps no results in a process that sends a group."""

    ResultConsumer = _Deaf

    def add_pending_result(
        self, result: AsyncResult, weak: bool = False, start_drainer: bool = True
    ) -> AsyncResult:
        """Nobody waits for it: Celery would keep the members of every group for good."""
        return result


class JoinBackend(DeafBackend):
    """Counts the members of a chord.

    A body that takes no results, as ours is, costs four commands. Celery's own join, which any
    other body gets, keeps the results for it and takes twice as many.
    """

    @cached_property
    def _joined(self) -> Any:
        return self.client.register_script(_JOINED)

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Note how many members a chord has."""
        self._set_chord_key(self.get_key_for_group(group_id, ".s"), chord_size)

    def on_chord_part_return(
        self, request: Any, state: str, result: Any, propagate: Any = None, **options: Any
    ) -> None:
        """Send the body when the last member has ended; one that fails ends the chord.

        A member counts once, however often it runs. What was counted is forgotten when the body is
        sent, not before: whoever dies in between has not acknowledged its own message, and sends
        the body when that comes back.
        """
        if not request.group or _takes_results(request.chord):
            super().on_chord_part_return(request, state, result, propagate, **options)
            return
        if state in states.PROPAGATE_STATES:
            return
        keys = [self.get_key_for_group(request.group, part) for part in (".m", ".s")]
        if self._joined(keys=keys, args=[request.id, self.chord_expires or 0]):
            body = maybe_signature(request.chord, app=self.app)
            self.app.amqp._retry_publish(body.delay)
            self.client.delete(*keys)


def _takes_results(body: Mapping[str, Any]) -> bool:
    """Whether a chord's body, as it travels, is given what the members return."""
    first = body["kwargs"]["tasks"][0] if body["subtask_type"] == "chain" else body
    return not first["immutable"]


def join_backend(url: str, backend: type[RedisBackend] = JoinBackend) -> str:
    """Celery's setting for such a backend at the Redis or Valkey address ``url``."""
    return f"{__name__}:{backend.__name__}+{url.removeprefix('redis+')}"


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
