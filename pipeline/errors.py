"""Every error of the pipeline, each a class with one sentence.

What becomes of a failure follows from its class; ``pipeline.failures`` is the table.
"""

import errno
from typing import ClassVar


class JustLensError(Exception):
    """Base of every error that JustLens raises on purpose."""


class ConfigurationError(JustLensError):
    """A setting has a value that cannot work; the message says which and what would."""


class TransientError(JustLensError):
    """The cause is outside the message and may be gone at the next try.

    Attributes:
        retry_after: seconds for which the other side asks to be left alone; 0: it did not say.
    """

    retry_after: float = 0.0


class PermanentError(JustLensError):
    """Trying again gives the same result."""


class InvalidMessage(PermanentError):
    """A message does not fit the contract of the queue it was sent to."""


class UndecodableImage(PermanentError):
    """The bytes are not an image that can be decoded, or a larger one than is allowed."""


class ObjectMissing(PermanentError):
    """The object store has no object under that key."""


class FetchRefused(PermanentError):
    """The address of a photo answered that it will never serve it, or must not be fetched."""


class FetchFailed(TransientError):
    """The address of a photo did not answer this time."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreUnavailable(TransientError):
    """A store cannot be reached or is too busy."""


class DiskFull(StoreUnavailable):
    """There is no room left where something has to be written.

    Attributes:
        numbers: the operating system's numbers for it.
    """

    numbers: ClassVar[frozenset[int]] = frozenset({errno.ENOSPC, errno.EDQUOT})


class MemoryExhausted(TransientError):
    """The process had not enough memory left at that moment."""


class BrokerUnavailable(TransientError):
    """The broker cannot be reached or did not confirm the message."""


class ModelUnavailable(TransientError):
    """No server of a model answered in time."""


class PurgeFailed(TransientError):
    """The CDN did not answer a purge, or not well this time."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PurgeRefused(PermanentError):
    """The CDN will not purge these addresses, or its settings cannot work."""


class DeadlinePassed(PermanentError):
    """A stage ran for longer than it may."""


class PoisonMessage(PermanentError):
    """The worker process ended again and again while it had this message."""


class RetrainingFailed(JustLensError):
    """A step of a retraining ended with an error."""


class UnknownBusiness(JustLensError):
    """The directory has no business under that id."""


class UnknownImage(JustLensError):
    """The business has no image under that id."""


class TooBusy(JustLensError):
    """More pages are asked for at once than can be answered in good time."""


class BackUpDamaged(JustLensError):
    """A back-up is not whole, or a file of it is not as it was written."""


class StoresNotEmpty(JustLensError):
    """The stores hold a directory already."""
