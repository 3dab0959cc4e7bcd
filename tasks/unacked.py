"""Giving back what a dead worker had taken.

On the Redis transport a message that was taken lies in a hash until it is acknowledged, and comes
back only by its age. Age says little: a stage may take a second or an hour. Here every worker
process has a hash of its own, named like a file that it holds locked for as long as it lives. The
kernel lets go of the lock whatever ends the process, and the next worker that looks gives back what
that process had taken, marked as redelivered.
"""

import base64
import fcntl
import json
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celery import Celery

from pipeline.queues import Lane, Stage, lane_queue
from pipeline.topology import asking, broker_errors

log = logging.getLogger(__name__)

SUFFIX = ".worker"
SIGNED_OFF = "ended"


class WorkerLock:
    """The lock of this process; its name is part of the keys of its unacknowledged messages.

    Args:
        folder: where the workers of this machine hold their locks.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._file = (folder / f"{self.name}{SUFFIX}").open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def transport_options(self) -> dict[str, str]:
        """Kombu's options that give this process keys of its own."""
        return keys(self.name)

    def sign_off(self) -> None:
        """Write down that this process has ended in good order."""
        self._file.write(SIGNED_OFF)
        self._file.flush()

    def give_back_orphans(self, app: Celery) -> int:
        """Put back the messages of all processes that are gone.

        Returns:
            How many of them had not ended in good order.
        """
        count = dead = 0
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            if path.stem == self.name:
                continue
            with path.open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                # Another worker may have given back and removed it before we had the lock.
                if path.exists():
                    count += give_back(app, path.stem)
                    dead += file.read() != SIGNED_OFF
                    path.unlink()
        if count:
            log.warning("gave back %d messages that dead workers had taken", count)
        return dead


def keys(name: str) -> dict[str, str]:
    """The names of a process's unacknowledged messages, their index and its mutex."""
    return {
        "unacked_key": f"unacked.{name}",
        "unacked_index_key": f"unacked_index.{name}",
        "unacked_mutex_key": f"unacked_mutex.{name}",
    }


def give_back(app: Celery, name: str) -> int:
    """Put back all messages that the process ``name`` had taken; returns how many.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    options: dict[str, Any] = {**app.conf.broker_transport_options, **keys(name)}
    with broker_errors(), app.connection_for_write(transport_options=options) as connection:
        channel = connection.channel()
        # The exchange's type must be known for the message to find its queue again.
        for queue in app.amqp.queues.values():
            queue(channel).declare()
        tags = channel.client.hkeys(keys(name)["unacked_key"])
        for tag in tags:
            channel.qos.restore_by_tag(tag, leftmost=True)
    return len(tags)


def images_in_flight(app: Celery) -> set[tuple[str, int]]:
    """The (docid, product_id) of all messages that wait in a stage's queue or are being worked on.

    A message that a worker was just taking when it was killed is in neither place: kombu takes it
    from the queue and notes it in two steps. What is queued by the records and not found here has
    lost its message. Reads every waiting message: called only when something seems to be lost.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    found = set()
    with asking(app) as connection:
        client = connection.channel().client
        for raw in _messages(client):
            try:
                (body, *_), *_ = json.loads(base64.b64decode(json.loads(raw)["body"]))
                found.add((body["docid"], body["product_id"]))
            except (ValueError, KeyError, TypeError):
                # Not one of ours; whoever takes it from the queue parks it.
                continue
    return found


def _messages(client: Any) -> Iterator[bytes]:
    for stage in Stage:
        for lane in Lane:
            name = lane_queue(stage.value, lane)
            for start in range(0, client.llen(name), _CHUNK):
                yield from client.lrange(name, start, start + _CHUNK - 1)
    for name in client.scan_iter(match="unacked.*", count=_CHUNK):
        for _, raw in client.hscan_iter(name, count=_CHUNK):
            yield json.dumps(json.loads(raw)[0]).encode()


_CHUNK = 1000
