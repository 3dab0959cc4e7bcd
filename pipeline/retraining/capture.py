"""What people type, kept for retraining without a request that waits for it.

A request leaves its query in memory; a thread of its own cleans what has come and saves it every
few seconds. A process that is killed loses the queries of these seconds, which is allowed: they
are a sample of what people type, and no request is answered with them.

**Personal data.** What people type about themselves is removed before anything leaves the process
(``pipeline.personal_data``). Programs are told from people by how often one visitor asks, so that
a visitor needs a name, and it is one that leads to nobody: a hash of the network address (or of
what a caller names the visitor by) under a random salt that lives in the memory of one process
and for one day (UTC). Nobody can compute it again, not even we: neither from the stored hash to
the address, nor from an address to its hash, nor from one day to the next.
"""

import hashlib
import itertools
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address

from pipeline.errors import ConfigurationError, StoreUnavailable
from pipeline.metrics import CAPTURED_QUERIES
from pipeline.personal_data import without_personal_data
from pipeline.queries import LONGEST_QUERY, Resolution

log = logging.getLogger(__name__)

DAY = 24 * 3600
# Some 3 MB; in an outage of the store, what a busy process is asked in a quarter of an hour.
MOST_WAITING = 10_000
FLUSH_SECONDS = 5.0
SAVED_AT_ONCE = 500
# IPv6 gives a household a network of this length, and its devices new addresses in it every day.
HOUSEHOLD_BITS = 64


@dataclass(frozen=True, slots=True)
class TypedQuery:
    """A query as it was typed, and what it was taken to mean.

    Attributes:
        query_id: the same id again is the same query.
        category: empty: none fits.
        how: ``exact``, ``characters``, ``meaning`` or ``none``; see ``Resolution``.
        confidence: 0..1.
        visitor: the same for what one visitor asked in a day; empty: not known.
        asked_at: Unix time.
    """

    query_id: str
    query: str
    category: str
    how: str
    confidence: float
    visitor: str
    asked_at: float


class DailyNames:
    """Names of visitors that hold for a day; see the head of this module."""

    def __init__(self) -> None:
        self._day = -1
        self._salt = b""

    def __call__(self, sender: str, at: float) -> str:
        """The name of a sender at a time; empty for an empty one."""
        if not sender:
            return ""
        day = int(at // DAY)
        if day > self._day:
            self._day, self._salt = day, secrets.token_bytes(16)
        return hashlib.blake2b(
            _household(sender).encode(), key=self._salt, digest_size=8
        ).hexdigest()


class QueryLog:
    """Takes queries in at once, and saves them by and by.

    Parameters:
        save: keeps queries; one whose id is known changes nothing.
        most: queries that wait; of more the oldest are dropped, and counted.
        every: seconds between two saves.
    """

    def __init__(
        self,
        save: Callable[[Sequence[TypedQuery]], object],
        *,
        most: int = MOST_WAITING,
        every: float = FLUSH_SECONDS,
    ) -> None:
        self._save = save
        self._every = every
        self._waiting: deque[TypedQuery] = deque(maxlen=most)
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._taken: list[TypedQuery] = []
        self._names = DailyNames()
        self._ids = (f"{secrets.token_hex(8)}-{number}" for number in itertools.count())
        self._is_away = False
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Save every few seconds from now on."""
        self._thread = threading.Thread(target=self._run, name="queries", daemon=True)
        self._thread.start()

    def add(self, resolution: Resolution, sender: str = "") -> None:
        """Take in a query as it was resolved; waits for nothing.

        Args:
            sender: what tells its visitor from others; empty: nothing does.
        """
        now = time.time()
        with self._lock:
            query = TypedQuery(
                next(self._ids),
                resolution.query,
                resolution.category or "",
                resolution.how,
                resolution.confidence,
                self._names(sender, now),
                now,
            )
            is_full = len(self._waiting) == self._waiting.maxlen
            self._waiting.append(query)
        if is_full:
            CAPTURED_QUERIES.labels("dropped").inc()

    def flush(self) -> int:
        """Save what waits; how many queries that were.

        Raises:
            StoreUnavailable, ConfigurationError: what could not be saved waits for the next time.
        """
        saved = 0
        with self._flushing:
            while self._taken or self._take():
                self._save(self._taken)
                CAPTURED_QUERIES.labels("saved").inc(len(self._taken))
                saved += len(self._taken)
                self._taken = []
        return saved

    def close(self) -> None:
        """Save what waits, and no more after it."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        self._try_to_flush()

    def _run(self) -> None:
        while not self._ending.wait(self._every):
            self._try_to_flush()

    def _try_to_flush(self) -> None:
        try:
            self.flush()
        except (StoreUnavailable, ConfigurationError) as error:
            if not self._is_away:
                log.warning("queries wait in memory: %s", error)
            self._is_away = True
        else:
            self._is_away = False

    def _take(self) -> bool:
        """Whether something waited. What was only personal data leaves nothing."""
        while self._waiting and not self._taken:
            with self._lock:
                count = min(SAVED_AT_ONCE, len(self._waiting))
                some = [self._waiting.popleft() for _ in range(count)]
            cleaned = (replace(one, query=_cleaned(one.query)) for one in some)
            self._taken = [one for one in cleaned if one.query]
        return bool(self._taken)


def _cleaned(query: str) -> str:
    return without_personal_data(query)[:LONGEST_QUERY].strip()


def _household(sender: str) -> str:
    try:
        address = ip_address(sender)
    except ValueError:
        return sender
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(int(address) >> HOUSEHOLD_BITS)
    return sender
