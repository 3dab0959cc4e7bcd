"""The life of a model: constructed cheaply, loaded once, called from many threads, unloaded."""

import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar


class Model(ABC):
    """What every model has in common.

    A subclass states its `name`, its `version` and how it loads. Calling a model that is not
    loaded loads it.

    Parameters
    ----------
    weights:
        Folder in which converted and exported artefacts are kept; shared by processes.
    threads:
        Number of CPU threads one call may use.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    """Raised whenever the same input would give another output."""

    def __init__(self, *, weights: Path, threads: int) -> None:
        self.weights = Path(weights)
        self.threads = max(1, int(threads))
        self._lock = threading.Lock()
        self._is_loaded = False
        self._loaded: Any = None

    @property
    def identity(self) -> str:
        """Name and version, as they go into idempotency keys."""
        return f"{self.name}@{self.version}"

    @property
    def is_loaded(self) -> bool:
        return self._is_loaded

    def load(self) -> Any:
        """Loads the model unless it is loaded, and returns what `_load` returned.

        Calls keep that in a local variable, so that an `unload` in another thread cannot take it
        away from under them.

        Raises `WeightsMissing` when the weights cannot be found or made.
        """
        with self._lock:
            if not self._is_loaded:
                self._loaded = self._load()
                self._is_loaded = True
            return self._loaded

    def unload(self) -> None:
        """Frees the model once the calls in flight have ended; the next call loads it again."""
        with self._lock:
            self._loaded = None
            self._is_loaded = False

    @abstractmethod
    def _load(self) -> Any:
        """Loads the weights and returns whatever a call needs. Runs under the model's lock."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.identity}>"
