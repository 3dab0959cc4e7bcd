"""A retraining from its files to the decision, in steps that are each done once."""

import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from models import artefacts
from models.errors import UnsuitableWeights
from models.text import MiniLM, SentenceOnnx
from models.text_training.train import train
from models.text_training.vocabulary import choose, extend, new_pieces
from pipeline.errors import ConfigurationError
from pipeline.retraining.datasets import read_quora, read_retrieval, read_sts
from pipeline.retraining.decision import Decision, Measured, Rule, decide
from pipeline.retraining.exam import Answers, Exam, answers, exam, times
from pipeline.retraining.history import Trial, trial_of
from pipeline.retraining.plan import Plan, plan_of
from pipeline.retraining.registry import Candidate, Registry
from pipeline.settings import Settings

STEPS = ("champion", "tokenizer", "training", "export", "measure", "register", "decide", "tidy")

OnStep = Callable[[str, int, int], object]
"""Told the step that is being done, how much of it is done, and of how much."""


@dataclass(frozen=True)
class Report:
    """What a retraining came to.

    Attributes:
        run: name of its folder.
        champion, version: numbers in the registry of the model it was compared with, and of its
            own.
        figures: of the challenger; ``champion_figures`` of the other one.
        seconds: of each step, those before a kill left out.
    """

    run: str
    version: int
    champion: int
    decision: Decision
    figures: dict[str, float]
    champion_figures: dict[str, float]
    pieces: int
    steps: int
    device: str
    seconds: dict[str, float]


def first_or_present_champion(settings: Settings, registry: Registry) -> int:
    """The champion's number; where there is none, the packaged model becomes the first."""
    from models.export import minilm_source

    champion = registry.champion()
    if champion is None:
        onnx = artefacts.ensure(settings.model_dir, "minilm")
        identity = MiniLM(weights=settings.model_dir, threads=1).identity
        champion = registry.begin(Candidate(f"packaged {identity}", minilm_source(), onnx))
    return champion.number


def rule(settings: Settings, champion: Measured) -> Rule:
    """The rule of promotion in force, over a champion as it was measured on this machine."""
    named = type(settings).model_fields
    return Rule(
        gain=settings.promote_gain,
        latency_limit_ms=settings.promote_latency_ms
        or champion.latency_ms * settings.promote_latency_factor,
        tolerances={
            name.removeprefix("guard_"): getattr(settings, name)
            for name in named
            if name.startswith("guard_")
        },
    )


def begin(plan: Plan, settings: Settings, registry: Registry) -> "Retraining":
    """The run of these files on the present champion, whether it was begun before or not."""
    champion = first_or_present_champion(settings, registry)
    name = f"{champion}-{plan.digest}"
    return Retraining(settings.data_dir / "retraining" / "runs" / name, plan, settings, registry)


def resume(name: str, settings: Settings, registry: Registry) -> "Retraining":
    """A run that was begun before.

    Raises:
        ConfigurationError: there is none of this name, or its files were changed since.
    """
    folder = settings.data_dir / "retraining" / "runs" / name
    try:
        described = json.loads((folder / "plan.json").read_text())
    except OSError as error:
        raise ConfigurationError(f"no retraining {name!r} was begun in {folder.parent}") from error
    plan = plan_of(described)
    if not name.endswith(plan.digest):
        raise ConfigurationError(f"the files of the retraining {name!r} were changed since")
    return Retraining(folder, plan, settings, registry)


class Retraining:
    """One run in its folder.

    Args:
        folder: named by the champion's version and the plan's digest.
    """

    def __init__(self, folder: Path, plan: Plan, settings: Settings, registry: Registry) -> None:
        self.folder = folder
        self._plan = plan
        self._settings = settings
        self._registry = registry

    @property
    def name(self) -> str:
        """Of the run."""
        return self.folder.name

    @property
    def done(self) -> dict[str, dict[str, Any]]:
        """What each step that is done came to."""
        path = self.folder / "done.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def run(self, on_step: OnStep = lambda step, done, total: None) -> Report:
        """Do what is not done yet.

        Raises:
            ConfigurationError: another process is at work on the same run.
            UnreadableDataset: a file is not in its format.
        """
        if STEPS[-1] in self.done:
            return self._report()
        # Before anything is written: a file that cannot be read is no run.
        self._plan.lesson()
        self._exam()
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            _write(self.folder / "plan.json", self._plan.described())
            for step in STEPS:
                on_step(step, 0, 1)
                if step not in self.done:
                    began = time.monotonic()
                    result = getattr(self, f"_{step}")(on_step)
                    result["seconds"] = round(time.monotonic() - began, 1)
                    _write(self.folder / "done.json", {**self.done, step: result})
        return self._report()

    def trial(self) -> Trial:
        """What is remembered of the run once it is over."""
        champion, challenger = self._measured()
        done = self.done
        return trial_of(
            self._report().decision,
            rule(self._settings, champion),
            (f"text{done['champion']['version']}", champion),
            (f"text{done['register']['version']}", challenger),
        )

    def _champion(self, on_step: OnStep) -> dict[str, Any]:
        number = int(self.name.partition("-")[0])
        for part, fetch in (("champion", self._registry.model), ("serving", self._registry.onnx)):
            shutil.rmtree(self.folder / part, ignore_errors=True)
            fetch(number, self.folder / part)
        return {"version": number}

    def _tokenizer(self, on_step: OnStep) -> dict[str, Any]:
        champion, start, recipe = (
            self.folder / "champion",
            self.folder / "start",
            self._plan.recipe,
        )
        pieces = choose(champion, self._plan.seen(), recipe.pieces, recipe.pieces_least)
        shutil.rmtree(start, ignore_errors=True)
        extend(champion, start, pieces)
        return {"pieces": pieces}

    def _training(self, on_step: OnStep) -> dict[str, Any]:
        outcome = train(
            self.folder / "start",
            self._plan.lesson(),
            self._plan.recipe,
            self.folder / "training",
            threads=self._settings.threads,
            new_pieces=new_pieces(self.folder / "champion", self.folder / "start"),
            on_step=lambda done, total: on_step("training", done, total),
        )
        return asdict(outcome)

    def _export(self, on_step: OnStep) -> dict[str, Any]:
        from models.export import ArtefactDiffers, sentence_encoder

        shutil.rmtree(self.folder / "onnx", ignore_errors=True)
        if defect := _not_numbers(self.folder / "training" / "model"):
            return {"defect": defect}
        try:
            cosine = sentence_encoder(self.folder / "training" / "model", self.folder / "onnx")
        except ArtefactDiffers as error:
            shutil.rmtree(self.folder / "onnx", ignore_errors=True)
            return {"defect": f"it cannot be exported: {error}"}
        return {"defect": "", "least_cosine": cosine}

    def _measure(self, on_step: OnStep) -> dict[str, Any]:
        asked, champion = self._exam(), self._encoder("serving")
        of_champion = answers(champion, asked)
        defect, of_challenger = self.done["export"]["defect"], Answers(Measured())
        taken = (float("nan"), float("nan"))
        if not defect:
            challenger = self._encoder("onnx")
            try:
                of_challenger = answers(challenger, asked)
                taken = times(champion, challenger, asked)
            except UnsuitableWeights as error:
                defect = str(error)
        return {
            "queries": asked.digest,
            "champion": _answered(of_champion, taken[0], ""),
            "challenger": _answered(of_challenger, taken[1], defect),
        }

    def _register(self, on_step: OnStep) -> dict[str, Any]:
        done = self.done
        onnx = self.folder / "onnx"
        champion = done["measure"]["champion"]["figures"]
        version = self._registry.add(
            Candidate(
                run=self.name,
                folder=self.folder / "training" / "model",
                onnx=onnx if onnx.is_dir() else None,
                parameters={
                    **asdict(self._plan.recipe),
                    **{name: str(path) for name, path in self._plan.files.items()},
                    "champion": done["champion"]["version"],
                    "device": done["training"]["device"],
                    "new_pieces": len(done["tokenizer"]["pieces"]),
                },
                metrics={
                    **done["measure"]["challenger"]["figures"],
                    **{f"champion_{name}": value for name, value in champion.items()},
                },
                queries=done["measure"]["queries"],
                curve=done["training"]["curve"],
            )
        )
        return {"version": version.number}

    def _decide(self, on_step: OnStep) -> dict[str, Any]:
        done = self.done
        champion, challenger = self._measured()
        now = self._registry.champion()
        if now is None or now.number != done["champion"]["version"]:
            reason = f"the champion is not version {done['champion']['version']} any more"
            decision = Decision(False, None, None, (reason,))
        else:
            best = self._registry.best(done["measure"]["queries"])
            decision = decide(champion, challenger, rule(self._settings, champion), best)
        number = done["register"]["version"]
        # Of a run that was killed behind this, the decision is noted already.
        if not self._registry.version(number).events:
            self._registry.decide(number, decision)
        return asdict(decision)

    def _measured(self) -> tuple[Measured, Measured]:
        champion, challenger = (
            Measured(**self.done["measure"][who]["measured"]) for who in ("champion", "challenger")
        )
        return champion, challenger

    def _tidy(self, on_step: OnStep) -> dict[str, Any]:
        """What is in the registry is not kept a second time."""
        for part in ("champion", "serving", "start", "training", "onnx"):
            shutil.rmtree(self.folder / part, ignore_errors=True)
        return {}

    def _report(self) -> Report:
        done = self.done
        decided = {name: value for name, value in done["decide"].items() if name != "seconds"}
        for name in ("interval", "reasons"):
            decided[name] = None if decided[name] is None else tuple(decided[name])
        return Report(
            run=self.name,
            version=done["register"]["version"],
            champion=done["champion"]["version"],
            decision=Decision(**decided),
            figures=done["measure"]["challenger"]["figures"],
            champion_figures=done["measure"]["champion"]["figures"],
            pieces=len(done["tokenizer"]["pieces"]),
            steps=done["training"]["steps"],
            device=done["training"]["device"],
            seconds={step: done[step]["seconds"] for step in STEPS},
        )

    def _exam(self) -> Exam:
        plan = self._plan
        packaged = MiniLM(weights=self._settings.model_dir, threads=1)
        return exam(
            read_retrieval(plan.test),
            packaged.pieces,
            self._settings.promote_oov_share,
            sts=read_sts(plan.sts) if plan.sts else (),
            quora=read_quora(plan.quora) if plan.quora else (),
            msmarco=read_retrieval(plan.msmarco) if plan.msmarco else None,
        )

    def _encoder(self, part: str) -> SentenceOnnx:
        return SentenceOnnx(
            weights=self._settings.model_dir,
            threads=self._settings.threads,
            folder=self.folder / part,
            identity=f"{self.name}/{part}",
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with FileLock(str(self.folder / ".lock"), timeout=0):
                yield
        except Timeout as error:
            raise ConfigurationError(f"another process is at work on {self.name}") from error


def _not_numbers(folder: Path) -> str:
    """Which weights of a model are not numbers; empty: all are."""
    import numpy as np
    from safetensors.numpy import load_file

    state = load_file(folder / "model.safetensors")
    bad = [name for name, tensor in state.items() if not np.isfinite(tensor).all()]
    if not bad:
        return ""
    return f"{len(bad)} of its {len(state)} tensors hold what is no number, such as {bad[0]}"


def _answered(of: Answers, latency_ms: float, defect: str) -> dict[str, Any]:
    measured = {
        "reciprocal_ranks": list(of.measured.reciprocal_ranks),
        "guards": dict(of.measured.guards),
        "latency_ms": latency_ms,
        "defect": defect,
    }
    timed = {"latency_ms": latency_ms} if math.isfinite(latency_ms) else {}
    return {"measured": measured, "figures": {**of.figures, **timed}}


def _write(path: Path, value: Any) -> None:
    """All of it, or what was there before."""
    handle, begun = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(json.dumps(value, indent=1))
        file.flush()
        os.fsync(file.fileno())
    os.replace(begun, path)
