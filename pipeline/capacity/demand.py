"""What comes in: uploads over the day, and a backfill spread evenly over its days."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigurationError

DAY = 24 * 3600.0
HOURS = 24


@dataclass(frozen=True)
class Demand:
    """A load.

    Attributes:
        images_per_day: uploads, in the interactive lane.
        backfill: images in the bulk lane.
        days: within which the backfill shall be through.
        peak_factor: uploads in the busiest moment to their mean, 1 to 2: a cosine over the day.
        peak_hour: when that is, 0 to 24.
        profile: 24 numbers in proportion to the uploads of each hour, in place of the cosine.
        pages_per_second: result pages at the busiest moment.
        stored: images that are there already.
        keep_days: for which uploads are counted towards the storage.

    Raises:
        ConfigurationError: it cannot be meant so.
    """

    images_per_day: float
    backfill: float = 0.0
    days: float = 14.0
    peak_factor: float = 2.0
    peak_hour: float = 14.0
    profile: Sequence[float] = ()
    pages_per_second: float = 0.0
    stored: float = 0.0
    keep_days: float = 365.0

    def __post_init__(self) -> None:
        counts = (self.images_per_day, self.backfill, self.stored, self.keep_days)
        if min(*counts, self.pages_per_second) < 0:
            raise ConfigurationError("a load cannot be negative")
        if not self.images_per_day + self.backfill > 0:
            raise ConfigurationError("without images there is nothing to plan: say how many a day")
        if self.backfill and self.days <= 0:
            raise ConfigurationError("a backfill takes days: say how many with --days")
        if not 1 <= self.peak_factor <= 2:
            raise ConfigurationError(
                f"a peak factor of {self.peak_factor:g} is no cosine, which has 1 to 2: give the "
                "24 hours of the day as a profile"
            )
        if self.profile and (
            len(self.profile) != HOURS or min(self.profile) < 0 or not sum(self.profile) > 0
        ):
            raise ConfigurationError(
                f"a profile has 24 numbers, none below 0, one for each hour; not {self.profile}"
            )

    def uploads(self, hour: float) -> float:
        """Images a second in the interactive lane at an hour of the day, 0 to 24."""
        mean = self.images_per_day / DAY
        if self.profile:
            share: float = self.profile[int(hour) % HOURS]
            return mean * share * HOURS / sum(self.profile)
        swing = math.cos(2 * math.pi * (hour - self.peak_hour) / HOURS)
        return mean * (1 + (self.peak_factor - 1) * swing)

    @property
    def peak(self) -> float:
        """Uploads a second in the busiest moment."""
        if self.profile:
            return max(self.uploads(hour) for hour in range(HOURS))
        return self.uploads(self.peak_hour)

    @property
    def bulk(self) -> float:
        """Images a second that the backfill brings."""
        return self.backfill / (self.days * DAY) if self.backfill else 0.0

    @property
    def mean(self) -> float:
        """Images a second of both lanes, averaged over a day of the backfill."""
        return self.images_per_day / DAY + self.bulk

    @property
    def kept(self) -> float:
        """Images in the stores at the end."""
        return self.stored + self.backfill + self.images_per_day * self.keep_days
