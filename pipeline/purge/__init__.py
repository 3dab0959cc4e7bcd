"""CDN purge: edges forget what they keep of an image once there is a better version of it.

Which CDN is a setting. Opening a purge checks its settings and reaches nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module

from pipeline.errors import ConfigurationError
from pipeline.settings import Settings
from pipeline.smaller import WIDTHS
from pipeline.stores.objects import ObjectStore

# Imported when chosen, so that a worker without a CDN does without their libraries.
PURGES = {
    "http": "pipeline.purge.http:HttpPurge",
    "akamai": "pipeline.purge.akamai:AkamaiPurge",
}


class Purge(ABC):
    """Makes a CDN forget addresses. Harmless to repeat; for one thread at a time."""

    @abstractmethod
    def __call__(self, addresses: Sequence[str]) -> None:
        """Purge absolute http(s) addresses, in as few requests as the CDN allows.

        Raises:
            PurgeFailed: the CDN did not answer, or not well this time; some may be purged.
            PurgeRefused: it will not purge these addresses, or not for us.
        """


def open_purge(settings: Settings) -> Purge | None:
    """The purge that the settings choose; none where there is no CDN.

    Raises:
        ConfigurationError: a setting of the CDN is missing or cannot work.
    """
    if settings.cdn_purge == "none":
        return None
    if "://" not in (settings.cdn_public_url or settings.public_objects_url):
        raise ConfigurationError(
            "JUSTLENS_CDN_PUBLIC_URL must be an absolute prefix such as https://img.example.com: "
            f"a CDN does not know addresses such as {settings.public_objects_url}/…"
        )
    module, _, name = PURGES[settings.cdn_purge].partition(":")
    purge: Purge = getattr(import_module(module), name)(settings)
    return purge


def purge_of_objects(settings: Settings, objects: ObjectStore) -> Callable[[Sequence[str]], None]:
    """What makes the CDN of the settings forget objects that are gone, by their keys.

    Their smaller versions, too. Does nothing where there is no CDN.
    """

    def purge(keys: Sequence[str]) -> None:
        cdn = open_purge(settings) if keys else None
        if cdn is not None:
            cdn([public_address(one, settings) for key in keys for one in addresses(key)])

    def addresses(key: str) -> list[str]:
        smaller = settings.public_pictures_url.rstrip("/")
        return [objects.url(key), *(f"{smaller}/{width}/{key}" for width in WIDTHS)]

    return purge


def public_address(address: str, settings: Settings) -> str:
    """The address as the world outside knows it; a relative one is put behind ``cdn_public_url``.

    Stays relative where that setting is empty, and empty where it is empty itself.
    """
    if not address or "://" in address or not settings.cdn_public_url:
        return address
    return f"{settings.cdn_public_url.rstrip('/')}/{address.lstrip('/')}"
