"""Which workers answer, and what they take from."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from celery import Celery

from pipeline.topology import asking

# How many will answer is not known, so that each question takes as long as this.
ANSWER_SECONDS = 1.0
ASK_EVERY = 10.0
# A worker that holds the interpreter, as one that loads a model does, may miss a few questions.
PATIENCE = 45.0


def workers(app: Celery, seconds: float = ANSWER_SECONDS) -> dict[str, list[str]]:
    """The queues of each worker that answers within ``seconds``.

    Raises:
        BrokerUnavailable: the broker cannot be asked.
    """
    with asking(app) as connection:
        inspect = app.control.inspect(timeout=seconds, connection=connection)
        answers = inspect.active_queues() or {}
    return {name: [queue["name"] for queue in queues] for name, queues in answers.items()}


@dataclass(frozen=True)
class Worker:
    """A worker, as it answered last.

    Attributes:
        seen_at: Unix time of that answer.
    """

    name: str
    queues: Sequence[str]
    seen_at: float


class RollCall:
    """The workers that answered lately, however often one looks.

    Args:
        ask: the workers that answer now, with their queues.
    """

    def __init__(self, ask: Callable[[], Mapping[str, Sequence[str]]]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._asked_at = 0.0
        self._seen: dict[str, Worker] = {}

    def __call__(self) -> list[Worker]:
        """Those that answered within the last ``PATIENCE`` seconds, by name.

        Raises:
            BrokerUnavailable: the broker cannot be asked.
        """
        with self._lock:
            if time.time() - self._asked_at >= ASK_EVERY:
                answers = self._ask()
                now = self._asked_at = time.time()
                known = [one for one in self._seen.values() if now - one.seen_at < PATIENCE]
                new = [Worker(name, tuple(queues), now) for name, queues in answers.items()]
                self._seen = {one.name: one for one in (*known, *new)}
            return [self._seen[name] for name in sorted(self._seen)]
