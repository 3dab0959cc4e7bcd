"""Which text models there are, what was measured of them, and which of them is in force: MLflow.

mlflow takes seconds to import, and is imported where it is used.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigurationError
from pipeline.retraining.decision import Decision
from pipeline.retraining.plots import plots
from pipeline.settings import Settings

MODEL = "justlens-text"
"""Name of the experiment and of the registered model."""

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"

RUN_TAG, QUERIES_TAG, METRICS_TAG = "run", "queries", "metrics"
SEARCH_TAG = "search"
EVENT_TAG = "event."
"""Followed by the event's number."""

PARTS = {"sentence-transformers": "model.sentence_transformer", "onnx": "extra_files"}
"""Where MLflow keeps what of a model."""

NEEDED = ("sentence-transformers", "transformers", "torch")

PRIMARY = "mrr_at_10"


@dataclass(frozen=True)
class Candidate:
    """A model that goes into the registry.

    Attributes:
        run: name of the run that made it; a second time is the same version.
        folder: of sentence-transformers.
        onnx: made of it by ``models.export.sentence_encoder``; none: it could not be.
        queries: digest of what the primary metric was measured on.
        curve: each a step with what was measured at it.
    """

    run: str
    folder: Path
    onnx: Path | None
    parameters: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    queries: str = ""
    curve: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True)
class Version:
    """A version in the registry.

    Attributes:
        made_at: seconds since 1970.
        events: decisions, overrides, cut-overs and their undoing, oldest first, each with
            ``event``, ``reasons``, ``at``, maybe ``by`` and ``promoted``.
    """

    number: int
    run: str
    made_at: float
    aliases: tuple[str, ...]
    metrics: Mapping[str, float]
    queries: str
    events: tuple[Mapping[str, Any], ...]


def open_registry(settings: Settings) -> "Registry":
    """The registry at the address in the settings."""
    url = settings.mlflow_url or f"sqlite:///{settings.data_dir}/mlflow.db"
    return Registry(url, settings.data_dir / "mlartifacts")


def mlflow_client(url: str) -> Any:
    """A client of MLflow at an address, which is made where it is a file."""
    # Nothing is told to anybody outside.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow import MlflowClient

    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=url, registry_uri=url)


class Registry:
    """Aliases: ``champion`` serves, ``previous`` did before it, and ``challenger`` has met the rule
    and may serve once its vectors are there and it was asked in the champion's shadow.

    Args:
        url: of MLflow: a server, or ``sqlite:///``.
        artefacts: folder of the models where MLflow is a file and has none of its own.
    """

    def __init__(self, url: str, artefacts: Path) -> None:
        self._url = url
        self._artefacts = artefacts
        self._client = mlflow_client(url)

    def versions(self) -> list[Version]:
        """All of them, newest first."""
        if not self._client.search_registered_models(filter_string=f"name = '{MODEL}'"):
            return []
        aliases: dict[int, list[str]] = {}
        for alias, number in self._client.get_registered_model(MODEL).aliases.items():
            aliases.setdefault(int(number), []).append(alias)
        found = self._client.search_model_versions(f"name = '{MODEL}'", max_results=10_000)
        numbered = sorted(found, key=lambda version: -int(version.version))
        return [self._version(each, aliases.get(int(each.version), [])) for each in numbered]

    def version(self, named: str | int) -> Version:
        """The version of a number or an alias.

        Raises:
            ConfigurationError: there is none.
        """
        for version in self.versions():
            if str(named) == str(version.number) or named in version.aliases:
                return version
        raise ConfigurationError(f"the registry has no text model {named!r}")

    def champion(self) -> Version | None:
        """The version that serves; none: nothing was registered yet."""
        return next((each for each in self.versions() if CHAMPION in each.aliases), None)

    def best(self, queries: str) -> float | None:
        """The highest primary metric that a champion had on the same queries; none: unknown."""
        return max(
            (
                each.metrics[PRIMARY]
                for each in self.versions()
                if each.queries == queries
                and PRIMARY in each.metrics
                and (
                    CHAMPION in each.aliases
                    or any(event["event"] == "cut-over" for event in each.events)
                )
            ),
            default=None,
        )

    def add(self, candidate: Candidate) -> Version:
        """Register a model with all that is known of it; it is decided on afterwards."""
        for version in self.versions():
            if version.run == candidate.run:
                return version
        return self.version(self._log(candidate))

    def begin(self, candidate: Candidate) -> Version:
        """Register the model that serves before any was retrained, as the first champion."""
        version = self.champion()
        if version is None:
            version = self.add(candidate)
            self._point(CHAMPION, version.number)
        return self.version(version.number)

    def decide(self, number: int, decision: Decision) -> Version:
        """Note a decision with its reasons; a version that is promoted becomes the challenger."""
        return self._promoted(number, {"event": "decision", **asdict(decision)})

    def override(self, number: int, by: str, reason: str) -> Version:
        """Make a version the challenger because a person says so.

        Raises:
            ConfigurationError: the person or the reason is empty, or there is no such version.
        """
        if not by.strip() or not reason.strip():
            raise ConfigurationError("a promotion by hand needs a name and a reason")
        event = {"event": "override", "promoted": True, "reasons": [reason], "by": by}
        return self._promoted(number, event)

    def cut_over(self, reason: str, by: str = "") -> Version:
        """Make the challenger the champion, and the champion the previous one.

        Raises:
            ConfigurationError: there is no challenger.
        """
        version, champion = self.version(CHALLENGER), self.champion()
        # In this order a kill leaves a champion and a way back, and the same call ends it.
        if CHAMPION not in version.aliases:
            self._note(version, {"event": "cut-over", "reasons": [reason], "by": by})
            if champion is not None:
                self._point(PREVIOUS, champion.number)
            self._point(CHAMPION, version.number)
        self._client.delete_registered_model_alias(MODEL, CHALLENGER)
        return self.version(version.number)

    def take_back(self, reason: str, by: str = "") -> Version:
        """Undo the cut-over: the previous champion is the champion, and what was is challenger.

        Raises:
            ConfigurationError: there is no previous one.
        """
        version, champion = self.version(PREVIOUS), self.champion()
        if CHAMPION not in version.aliases:
            self._note(version, {"event": "take-back", "reasons": [reason], "by": by})
            if champion is not None:
                self._point(CHALLENGER, champion.number)
            self._point(CHAMPION, version.number)
        self._client.delete_registered_model_alias(MODEL, PREVIOUS)
        return self.version(version.number)

    def drop(self, reason: str, by: str = "") -> Version:
        """Give the challenger up.

        Raises:
            ConfigurationError: there is none.
        """
        version = self.version(CHALLENGER)
        self._note(version, {"event": "drop", "reasons": [reason], "by": by})
        self._client.delete_registered_model_alias(MODEL, CHALLENGER)
        return self.version(version.number)

    def challenges(self) -> int | None:
        """The number of the challenger, if there is one."""
        found = (each.number for each in self.versions() if CHALLENGER in each.aliases)
        return next(found, None)

    def model(self, number: int, target: Path) -> Path:
        """Copy a version's sentence-transformers folder to ``target``, complete or not at all."""
        return self._fetch(number, "sentence-transformers", target)

    def onnx(self, number: int, target: Path) -> Path:
        """Copy a version's export to ``target``, complete or not at all.

        Raises:
            ConfigurationError: it has none.
        """
        return self._fetch(number, "onnx", target)

    def note_trial(self, search: str, parameters: Mapping[str, object], score: float) -> None:
        """Keep a trial of a search for a recipe, for people to compare."""
        run = self._client.create_run(self._experiment(), tags={SEARCH_TAG: search})
        for name, value in parameters.items():
            self._client.log_param(run.info.run_id, name, value)
        self._client.log_metric(run.info.run_id, "score", score)
        self._client.set_terminated(run.info.run_id)

    def _fetch(self, number: int, part: str, target: Path) -> Path:
        import mlflow
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        self.version(number)
        if target.exists():
            raise ConfigurationError(f"{target} exists already")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as begun:
            source = f"models:/{MODEL}/{number}/{PARTS[part]}"
            # Models are looked up at the addresses of the process, whatever the next call is given.
            mlflow.set_tracking_uri(self._url)
            mlflow.set_registry_uri(self._url)
            try:
                found = download_artifacts(source, dst_path=begun, tracking_uri=self._url)
            except (MlflowException, OSError) as error:
                raise ConfigurationError(
                    f"text model {number} has no {part} in the registry: {error}"
                ) from error
            shutil.move(found, target)
        return target

    def _promoted(self, number: int, event: dict[str, Any]) -> Version:
        version = self.version(number)
        self._note(version, event)
        if event["promoted"] and CHAMPION not in version.aliases:
            self._point(CHALLENGER, number)
        return self.version(number)

    def _note(self, version: Version, event: dict[str, Any]) -> None:
        self._client.set_model_version_tag(
            MODEL,
            str(version.number),
            f"{EVENT_TAG}{len(version.events) + 1:03}",
            json.dumps({**event, "at": time.time()}, ensure_ascii=False),
        )

    def _point(self, alias: str, number: int) -> None:
        self._client.set_registered_model_alias(MODEL, alias, str(number))

    def _log(self, candidate: Candidate) -> int:
        """One MLflow run with parameters, figures, plots and the model; returns its version."""
        import mlflow
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, DataType, Schema, TensorSpec
        from sentence_transformers import SentenceTransformer

        mlflow.set_tracking_uri(self._url)
        mlflow.set_registry_uri(self._url)
        model = SentenceTransformer(str(candidate.folder), local_files_only=True, device="cpu")
        dimension = model.get_embedding_dimension() or -1
        signature = ModelSignature(
            inputs=Schema([ColSpec(DataType.string)]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, dimension))]),
        )
        tags = {RUN_TAG: candidate.run, QUERIES_TAG: candidate.queries}
        with mlflow.start_run(experiment_id=self._experiment(), run_name=candidate.run, tags=tags):
            mlflow.log_params(dict(candidate.parameters))
            mlflow.log_metrics(_finite(candidate.metrics))
            for point in candidate.curve:
                figures = {
                    f"training_{name}": value for name, value in point.items() if name != "step"
                }
                mlflow.log_metrics(_finite(figures), step=int(point.get("step", 0)))
            for name, figure in plots(candidate.curve):
                mlflow.log_figure(figure, f"plots/{name}.png")
            logged = mlflow.sentence_transformers.log_model(
                model,
                name="model",
                signature=signature,
                pip_requirements=_requirements(),
                extra_files=sorted(map(str, candidate.onnx.iterdir())) if candidate.onnx else None,
            )
            tags[METRICS_TAG] = json.dumps(_finite(candidate.metrics))
            made = mlflow.register_model(logged.model_uri, MODEL, tags=tags)
        return int(made.version)

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(MODEL)
        if found is not None:
            return str(found.experiment_id)
        own = self._artefacts.absolute().as_uri() if self._url.startswith("sqlite") else None
        return str(self._client.create_experiment(MODEL, artifact_location=own))

    def _version(self, found: Any, aliases: Sequence[str]) -> Version:
        events = sorted(key for key in found.tags if key.startswith(EVENT_TAG))
        return Version(
            number=int(found.version),
            run=found.tags.get(RUN_TAG, ""),
            made_at=found.creation_timestamp / 1000,
            aliases=tuple(sorted(aliases)),
            metrics=json.loads(found.tags.get(METRICS_TAG, "{}")),
            queries=found.tags.get(QUERIES_TAG, ""),
            events=tuple(json.loads(found.tags[key]) for key in events),
        )


def _finite(figures: Mapping[str, float]) -> dict[str, float]:
    """MLflow's databases do not take all that is no number."""
    return {name: float(value) for name, value in figures.items() if np.isfinite(value)}


def _requirements() -> list[str]:
    return [f"{name}=={metadata.version(name)}" for name in NEEDED]
