"""Serving in the spaces in force: what answers, and the challenger beside it.

A process follows a cut-over within seconds: it loads the other model first and answers from the old
space until then, so that no request waits for a model.
"""

import logging
import threading
from collections.abc import Callable
from typing import NamedTuple

from models.errors import ModelError
from models.text import TextEncoder
from pipeline.errors import ConfigurationError, ObjectMissing, StoreUnavailable
from pipeline.serving import Serving
from pipeline.stores.documents import DocumentStore
from pipeline.text_spaces import BASE, TextSpaces, text_spaces

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0
TROUBLES = (StoreUnavailable, ConfigurationError, ObjectMissing, ModelError)


class Answering(NamedTuple):
    """A text model, and what answers in its space."""

    encoder: TextEncoder
    serving: Serving


class Servings:
    """One for each space that answers or is a challenger's.

    Args:
        documents: where it is written which those are.
        open_space: makes what answers in a space; may raise any of ``TROUBLES``.
        look_every: seconds between two looks at which those are.
    """

    def __init__(
        self,
        documents: DocumentStore,
        open_space: Callable[[str], Answering],
        look_every: float = LOOK_EVERY,
    ) -> None:
        self._documents = documents
        self._open_space = open_space
        self._look_every = look_every
        self._looking = threading.Lock()
        self._starting = threading.Lock()
        self._ended: threading.Event | None = None
        self._opened: dict[str, Answering] = {}
        self._serves: str | None = None
        self._challenges: str | None = None

    def current(self) -> Answering:
        """What answers now."""
        if self._ended is None:
            self._follow()
        return self._opened[self._serves or BASE]

    def challenger(self) -> Serving | None:
        """What would answer if the challenger did."""
        return self._opened[self._challenges].serving if self._challenges is not None else None

    def look(self) -> None:
        """Follow what is in force; where that cannot be had, what answers goes on."""
        with self._looking:
            spaces = self._spaces()
            is_first = self._serves is None
            if spaces is not None and self._open(spaces.serving, is_warm=not is_first):
                self._serves = spaces.serving
            elif is_first:
                self._opened[BASE] = self._open_space(BASE)
                self._serves = BASE
            if spaces is not None:
                self._challenges = (
                    spaces.challenger
                    if spaces.challenger is not None and self._open(spaces.challenger)
                    else None
                )
            self._opened = {
                name: found
                for name, found in self._opened.items()
                if name in (self._serves, self._challenges)
            }

    def close(self) -> None:
        """Follow no further, until something is asked for again."""
        with self._starting:
            if self._ended is not None:
                self._ended.set()
                self._ended = None

    def _follow(self) -> None:
        with self._starting:
            if self._ended is None:
                self.look()
                self._ended = threading.Event()
                threading.Thread(
                    target=self._look_on, args=(self._ended,), name="text-spaces", daemon=True
                ).start()

    def _look_on(self, ended: threading.Event) -> None:
        # Whether or not anybody asks: the first one after a quiet hour is answered by what serves.
        while not ended.wait(self._look_every):
            try:
                self.look()
            except Exception:
                log.exception("which text model serves could not be looked up")

    def _spaces(self) -> TextSpaces | None:
        try:
            return text_spaces(self._documents)
        except StoreUnavailable as error:
            log.warning("which text model serves is not known for now: %s", error)
            return None

    def _open(self, name: str, *, is_warm: bool = True) -> bool:
        """Whether what answers in a space is there, made now if it is not."""
        if name in self._opened:
            return True
        try:
            found = self._open_space(name)
            if is_warm:
                found.encoder.load()
                found.serving.warm_up()
        except TROUBLES as error:
            log.warning("the text model %r cannot be used yet: %s", name, error)
            return False
        self._opened[name] = found
        log.info("answers can be had from the text model %r", name)
        return True
