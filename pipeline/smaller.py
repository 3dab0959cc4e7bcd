"""Smaller versions of stored pictures, made when a page asks for them.

Whatever is stored, the memory is bounded: few are made at a time, their pixels within a budget, and
of those made the ones asked for last are kept for a minute, up to a number of bytes.
"""

import io
import threading

import anyio
import anyio.to_thread
import numpy as np
from cachetools import TTLCache
from PIL import Image

from pipeline.imaging import Photo, Picture
from pipeline.pixel_budget import PixelBudget
from pipeline.stores.objects import ObjectStore, check_key

WIDTHS = (160, 320, 480, 640, 960, 1280)
CONTENT_TYPE = "image/webp"
# A higher method costs twice the time for two per cent of the bytes.
QUALITY, METHOD = 78, 2
KEPT_BYTES = 32_000_000
# A picture that is deleted is shown no longer.
KEPT_SECONDS = 60.0


class SmallerVersions:
    """Makes WebP versions of the pictures of an object store and keeps some.

    Args:
        objects: where the pictures are.
        max_pixels: larger pictures are refused.
        pixels_in_flight: pixels of the pictures that are being decoded at a time.
        at_a_time: versions that are being made at a time; others wait without a thread.
    """

    def __init__(
        self, objects: ObjectStore, *, max_pixels: int, pixels_in_flight: int, at_a_time: int
    ) -> None:
        self._objects = objects
        self._max_pixels = max_pixels
        self._budget = PixelBudget(pixels_in_flight)
        self._at_a_time = at_a_time
        self._limiter: anyio.CapacityLimiter | None = None
        self._kept: TTLCache[tuple[str, int], bytes] = TTLCache(
            KEPT_BYTES, KEPT_SECONDS, getsizeof=len
        )
        self._lock = threading.Lock()

    async def get(self, key: str, width: int) -> bytes:
        """The picture at most so many pixels wide; a smaller one keeps its size.

        Raises:
            ValueError: not a key.
            ObjectMissing, UndecodableImage, StoreUnavailable: as they say.
        """
        check_key(key)
        with self._lock:
            kept = self._kept.get((key, width))
        if kept is not None:
            return kept
        # Belongs to an event loop, hence not made before there is one.
        self._limiter = self._limiter or anyio.CapacityLimiter(self._at_a_time)
        return await anyio.to_thread.run_sync(self._make, key, width, limiter=self._limiter)

    async def exists(self, key: str) -> bool:
        """Whether there is a picture to make a version of."""
        return await anyio.to_thread.run_sync(self._objects.exists, check_key(key))

    def _make(self, key: str, width: int) -> bytes:
        photo = Photo(self._objects.get(key), self._max_pixels)
        with self._budget.take(photo.pixels):
            version = _webp(photo.shrink(width))
        with self._lock:
            self._kept[key, width] = version
        return version


def _webp(picture: Picture) -> bytes:
    pixels = picture.rgb if picture.alpha is None else np.dstack([picture.rgb, picture.alpha])
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=QUALITY, method=METHOD)
    return file.getvalue()
