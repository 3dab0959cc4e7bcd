"""``sbert_retraining``: nights of retraining, from what was searched for to a model that serves.

A step may take hours, so that no message is held for it: the task leaves it to a thread, which
holds the lease of ``pipeline.retraining.nights``, and comes again every minute.
"""

import json
import logging
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextvars import copy_context
from copy import copy
from pathlib import Path
from typing import Any

from pipeline.errors import RetrainingFailed
from pipeline.retraining.changeover import ChangeOver
from pipeline.retraining.nights import Night, Nights, Step
from pipeline.retraining.registry import Registry, open_registry
from pipeline.text_spaces import version_of
from tasks.jobs import Job
from tasks.parking import park
from tasks.retraining import prepared
from tasks.runtime import Runtime, runtime

log = logging.getLogger(__name__)

HOUR = 3600
DAY = 24 * HOUR
# The last lines of what a program said, for whoever looks for what went wrong.
TOLD_LINES = 8


class NightSteps:
    """What is done in each step of a night.

    Args:
        here: of this process.
    """

    def __init__(self, here: Runtime) -> None:
        self._here = here
        self._settings = here.settings

    def prepare(self, night: Night) -> Night:
        """Make the data of the run."""
        from pipeline.retraining.assembly import NothingToPrepare

        try:
            prepared(self._here, night.run)
        except NothingToPrepare as error:
            return night.over(str(error))
        return night.next()

    def train(self, night: Night) -> Night:
        """Train, measure and decide, in a process of its own that leaves the others their cores."""
        data = self._settings.data_dir / "retraining" / night.run / "data"
        report = _program("retrain", "run", str(data), "--threads", "1", "--nice", "10")
        version, decision = report["version"], report["decision"]
        if not decision["promoted"]:
            return night.over(f"version {version} is refused: {'; '.join(decision['reasons'])}")
        if open_registry(self._settings).challenges() != version:
            return night.over(f"nothing new: version {version} was made of the same data before")
        return night.next(version)

    def reembed(self, night: Night) -> Night:
        """Make the version the challenger, and write all images into its space."""
        assert night.version is not None
        changeover, registry = self._changeover()
        with tempfile.TemporaryDirectory() as folder:
            onnx = registry.onnx(night.version, Path(folder) / "onnx")
            changeover.challenge(onnx, night.version)
        changeover.fill()
        return night.next()

    def shadow(self, night: Night) -> Night | None:
        """Wait until enough questions were put to both models, and act on the verdict."""
        changeover, _ = self._changeover()
        spaces = changeover.spaces
        if spaces.version == night.version:
            return night.over("cut over by hand")
        if spaces.challenger is None or version_of(spaces.challenger) != night.version:
            return night.over("given up by hand")
        from pipeline.retraining.verdict import verdict

        models = self._here.champion().identity, spaces.challenger
        found = verdict(self._here.stores.shadow.comparisons(*models), self._settings)
        reasons = "; ".join(found.reasons)
        if found.outcome == "wait":
            return self._waiting(night, changeover, reasons)
        if found.outcome == "fail":
            changeover.drop(f"in the shadow: {reasons}")
            return night.over(f"version {night.version} fails in the shadow: {reasons}")
        if not self._settings.retrain_cut_over:
            return night.over(
                f"version {night.version} passes in the shadow; "
                "`justlens retrain cutover` lets it serve"
            )
        changeover.cut_over(f"passes in the shadow, {found.comparisons} comparisons")
        return night.over(f"version {night.version} serves")

    def _waiting(self, night: Night, changeover: ChangeOver, reasons: str) -> Night | None:
        """None: go on waiting. A small directory's queries of before are put to both in the end."""
        waited = time.time() - night.moved_at
        if waited > self._settings.shadow_patience * HOUR and not night.is_replayed:
            _program("retrain", "shadow", "--last-days", str(self._settings.queries_days or 365))
            return night.model_copy(update={"is_replayed": True})
        if waited > self._settings.shadow_days * DAY:
            changeover.drop(f"in the shadow: {reasons}")
            return night.over(f"version {night.version} was not asked enough: {reasons}")
        return None

    def _changeover(self) -> tuple[ChangeOver, Registry]:
        registry = open_registry(self._settings)
        return ChangeOver(self._here.stores, self._here.rescoring, registry), registry


def nights(here: Runtime) -> Nights:
    """The nights of an installation."""
    steps = NightSteps(here)
    return Nights(
        here.stores.documents,
        {
            Step.PREPARE: steps.prepare,
            Step.TRAIN: steps.train,
            Step.REEMBED: steps.reembed,
            Step.SHADOW: steps.shadow,
        },
    )


class BeginNight(Job):
    """Begins a night, unless one is not over yet; beat calls it every night."""

    name = "retraining_begin"

    def work(self) -> dict[str, Any]:
        """Returns the night's run."""
        return {"run": nights(runtime()).begin().run}


class GoOn(Job):
    """Goes on with the night that was begun; beat calls it every minute."""

    name = "retraining_go_on"

    _working: threading.Thread | None = None

    def work(self) -> dict[str, Any]:
        """Returns what the night has come to; what is left of it is done meanwhile."""
        here = runtime()
        night = nights(here).current()
        if night is None or night.step is None:
            return {"step": None}
        if self._working is None or not self._working.is_alive():
            # Celery's own goes on to the next message.
            request = copy(self.request)
            self._working = threading.Thread(
                # What it logs is still about this run.
                target=copy_context().run,
                args=(self._go_on, here, request),
                name="night",
                daemon=True,
            )
            self._working.start()
        return {"run": night.run, "step": night.step.value}

    def _go_on(self, here: Runtime, request: Any) -> None:
        try:
            nights(here).go_on()
        except Exception as error:
            log.exception("the night of retraining has failed")
            park(self.app, request, error, ends_image=False)


def _program(*arguments: str) -> Any:
    """What a command of ours prints as JSON; it ends with this process, however that ends.

    Raises:
        RetrainingFailed: it ended with an error.
    """
    command = [sys.executable, "-m", "cli", *arguments, "--json"]
    if setpriv := shutil.which("setpriv"):
        command = [setpriv, "--pdeathsig", "TERM", *command]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    # 1 is a verdict, with its JSON.
    if done.stdout.strip() and done.returncode in (0, 1):
        return json.loads(done.stdout.splitlines()[-1])
    told = "\n".join(done.stderr.strip().splitlines()[-TOLD_LINES:])
    raise RetrainingFailed(f"`justlens {' '.join(arguments)}` ended with {done.returncode}: {told}")
