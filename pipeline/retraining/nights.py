"""A night of retraining: steps one behind the other, each safe to repeat, by one worker at a time.

What a night has come to is a small record among the documents; who works at it holds a lease and
renews it. A worker that is killed leaves both: when the lease has ended, another goes on with the
step that was begun.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import StoreUnavailable, TransientError
from pipeline.stores.documents import DocumentStore

log = logging.getLogger(__name__)

NIGHT = "retraining_night"
LEASE = "retraining"
LEASE_SECONDS = 120.0
RENEWALS = 4


class Step(StrEnum):
    """What is done in a night, in this order."""

    PREPARE = "prepare"
    TRAIN = "train"
    REEMBED = "reembed"
    SHADOW = "shadow"


class Night(BaseModel):
    """What a night has come to.

    ``step`` is the one to be done; none: the night is over, and ``outcome`` says how.
    """

    model_config = ConfigDict(frozen=True)

    run: str = Field(description="Its name, and that of its folder.")
    step: Step | None = Step.PREPARE
    version: int | None = Field(None, description="Of the model that was made, in the registry.")
    is_replayed: bool = Field(False, description="Whether queries of before were asked again.")
    outcome: str = ""
    began_at: float = Field(default_factory=time.time, description="Unix time.")
    moved_at: float = Field(default_factory=time.time, description="Unix time.")

    def next(self, version: int | None = None) -> "Night":
        """With the step behind this one."""
        assert self.step is not None
        steps = list(Step)
        changes = {"step": steps[steps.index(self.step) + 1], "moved_at": time.time()}
        if version is not None:
            changes["version"] = version
        return self.model_copy(update=changes)

    def over(self, outcome: str) -> "Night":
        """Ended."""
        return self.model_copy(update={"step": None, "outcome": outcome, "moved_at": time.time()})


Work = Callable[[Night], Night | None]
"""Does a step: the night as it is then; none: it has to wait, and is asked again."""


class Nights:
    """Begins nights, and goes on with the one that was begun.

    Args:
        documents: where it is written what a night has come to.
        steps: the work of each step.
        lease_seconds: after which a worker that does not renew its lease is taken for dead.
    """

    def __init__(
        self,
        documents: DocumentStore,
        steps: Mapping[Step, Work],
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._documents = documents
        self._steps = steps
        self._lease_seconds = lease_seconds

    def current(self) -> Night | None:
        """The night that was begun last."""
        found = self._documents.value(NIGHT)
        return None if found is None else Night.model_validate(found)

    def begin(self) -> Night:
        """A new night, or the one that is not over yet."""
        with self._held() as is_held:
            night = self.current()
            if night is not None and (night.step is not None or not is_held):
                return night
            named = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
            return self._keep(Night(run=f"{named}-{uuid.uuid4().hex[:4]}"))

    def go_on(self) -> Night | None:
        """Do what is left of the night, up to a step that has to wait; what it has come to.

        Returns at once where another works at it. What a step raises ends the night, unless it is
        that something is away for now.
        """
        with self._held() as is_held:
            night = self.current()
            while is_held and night is not None and night.step is not None:
                moved = self._done(night)
                if moved is None:
                    break
                night = self._keep(moved)
        return night

    def _done(self, night: Night) -> Night | None:
        assert night.step is not None
        log.info("night %s: %s", night.run, night.step.value)
        try:
            return self._steps[night.step](night)
        except TransientError as error:
            log.warning("night %s: %s waits: %s", night.run, night.step.value, error)
            return None
        except Exception as error:
            self._keep(night.over(f"{night.step.value} failed: {type(error).__name__}: {error}"))
            raise

    def _keep(self, night: Night) -> Night:
        self._documents.save_value(NIGHT, night.model_dump(mode="json"))
        return night

    @contextmanager
    def _held(self) -> Iterator[bool]:
        """Whether the lease is ours; it is renewed until the end."""
        holder = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
        if not self._documents.take_lease(LEASE, holder, self._lease_seconds):
            yield False
            return
        ended = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(holder, ended), daemon=True)
        renewing.start()
        try:
            yield True
        finally:
            ended.set()
            renewing.join()
            self._documents.give_lease_back(LEASE, holder)

    def _renew(self, holder: str, ended: threading.Event) -> None:
        while not ended.wait(self._lease_seconds / RENEWALS):
            try:
                self._documents.take_lease(LEASE, holder, self._lease_seconds)
            except StoreUnavailable as error:
                log.warning("the lease could not be renewed: %s", error)
