"""How often a key, or an address without one, may ask."""

import logging
import math
import time

from limits import RateLimitItem, parse_many
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from api.visitors import Visitor, is_loopback
from pipeline.settings import Settings

log = logging.getLogger(__name__)


class RateLimits:
    """Counts requests in this process, or in Valkey or Redis for several.

    Whoever asks from this machine without needing a key is not counted.

    Args:
        settings: of this process.
    """

    def __init__(self, settings: Settings) -> None:
        where = settings.rate_limit_url
        options = {"implementation": "redispy"} if where else {}
        storage = storage_from_string(
            f"async+{where or 'memory://'}", wrap_exceptions=True, **options
        )
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._of_keys = _limits(settings.rate_limit_key)
        self._of_addresses = _limits(settings.rate_limit_address)

    async def seconds_to_wait(self, visitor: Visitor) -> int:
        """Counts a request; 0: it may pass, otherwise when to come again."""
        if visitor.key is not None:
            return await self._count(self._of_keys, "key", visitor.key.key_id)
        if visitor.is_trusted and is_loopback(visitor.address):
            return 0
        return await self._count(self._of_addresses, "address", visitor.address)

    async def _count(self, limits: list[RateLimitItem], *who: str) -> int:
        try:
            for limit in limits:
                if not await self._limiter.hit(limit, *who):
                    stats = await self._limiter.get_window_stats(limit, *who)
                    return max(1, math.ceil(stats.reset_time - time.time()))
        except StorageError as error:
            # Without counting, everything else still works.
            log.warning("requests are not counted: %s", type(error.storage_error).__name__)
        return 0


def _limits(text: str) -> list[RateLimitItem]:
    return parse_many(text) if text else []
