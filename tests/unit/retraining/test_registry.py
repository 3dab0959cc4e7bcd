import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from models.export import sentence_encoder
from pipeline.errors import ConfigurationError
from pipeline.retraining.decision import Decision
from pipeline.retraining.registry import Candidate, Registry
from tests import tiny_bert

MET = Decision(True, 0.3, (0.2, 0.4), ("MRR@10 0.9 against 0.7",))
NOT_MET = Decision(False, -0.1, (-0.2, 0.0), ("MRR@10 0.6 against 0.7",))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    source = tiny_bert.save(folder / "source")
    sentence_encoder(source, folder / "onnx")
    return source, folder / "onnx"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow, which takes it seconds to make."""
    folder = tmp_path_factory.mktemp("tables")
    assert Registry(f"sqlite:///{folder}/mlflow.db", folder).versions() == []
    return folder / "mlflow.db"


@pytest.fixture
def registry(tables: Path, tmp_path: Path) -> Registry:
    shutil.copy(tables, tmp_path)
    return Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "mlflow")


def candidate(models: tuple[Path, Path], run: str, mrr: float = 0.5) -> Candidate:
    return Candidate(
        run,
        models[0],
        models[1],
        parameters={"passes": 4},
        metrics={"mrr_at_10": mrr, "sts_spearman": float("nan")},
        queries="digest",
        curve=[{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "mrr": 0.4}],
    )


def aliases(registry: Registry) -> dict[int, Sequence[str]]:
    return {version.number: version.aliases for version in registry.versions()}


def test_a_model_goes_from_challenger_to_champion_and_back(
    registry: Registry, models: tuple[Path, Path]
) -> None:
    assert registry.versions() == []
    assert registry.champion() is None
    first = registry.begin(candidate(models, "packaged"))
    assert registry.begin(candidate(models, "packaged")) == first
    refused = registry.decide(registry.add(candidate(models, "worse")).number, NOT_MET)
    assert aliases(registry) == {1: ("champion",), 2: ()}
    assert refused.events[0]["reasons"] == ["MRR@10 0.6 against 0.7"]
    assert refused.events[0]["promoted"] is False

    registry.decide(registry.add(candidate(models, "better", 0.9)).number, MET)
    assert aliases(registry) == {1: ("champion",), 2: (), 3: ("challenger",)}
    registry.cut_over("the shadow agrees")
    assert aliases(registry) == {1: ("previous",), 2: (), 3: ("champion",)}
    assert registry.best("digest") == 0.9
    assert registry.best("other queries") is None

    registry.take_back("complaints", by="Asha")
    assert aliases(registry) == {1: ("champion",), 2: (), 3: ("challenger",)}
    assert registry.challenges() == 3
    registry.drop("complaints", by="Asha")
    assert registry.challenges() is None
    assert aliases(registry) == {1: ("champion",), 2: (), 3: ()}
    events = [(event["event"], event.get("by")) for event in registry.version(3).events]
    assert events == [("decision", None), ("cut-over", ""), ("drop", "Asha")]


def test_a_refused_model_becomes_the_challenger_by_a_person_with_a_reason(
    registry: Registry, models: tuple[Path, Path]
) -> None:
    registry.begin(candidate(models, "packaged"))
    number = registry.add(candidate(models, "worse")).number
    registry.decide(number, NOT_MET)
    for by, reason in (("", "why"), ("Asha", " ")):
        with pytest.raises(ConfigurationError, match="a name and a reason"):
            registry.override(number, by, reason)
    version = registry.override(number, "Asha", "the test set is too small")
    assert version.aliases == ("challenger",)
    assert [event["event"] for event in version.events] == ["decision", "override"]
    assert version.events[1]["by"] == "Asha"
    with pytest.raises(ConfigurationError, match="no text model 7"):
        registry.override(7, "Asha", "why")


def test_a_run_that_is_registered_again_is_the_same_version(
    registry: Registry, models: tuple[Path, Path]
) -> None:
    first = registry.add(candidate(models, "run"))
    assert registry.add(candidate(models, "run")) == first
    assert len(registry.versions()) == 1


def test_what_was_registered_comes_out_as_it_went_in(
    registry: Registry, models: tuple[Path, Path], tmp_path: Path
) -> None:
    from models.text import SentenceOnnx

    number = registry.add(candidate(models, "run")).number
    model = registry.model(number, tmp_path / "out" / "model")
    onnx = registry.onnx(number, tmp_path / "out" / "onnx")
    assert sorted(path.name for path in onnx.iterdir()) == [
        "encoder.json",
        "model.onnx",
        "tokenizer.json",
    ]
    assert (onnx / "model.onnx").read_bytes() == (models[1] / "model.onnx").read_bytes()
    sentence_encoder(model, tmp_path / "again")
    encoders = [
        SentenceOnnx(weights=tmp_path, threads=1, folder=folder, identity=folder.name)
        for folder in (models[1], tmp_path / "again")
    ]
    texts = ["fresh bread", "wedding flower shop"]
    assert (encoders[0](texts) == encoders[1](texts)).all()
    with pytest.raises(ConfigurationError, match="exists already"):
        registry.model(number, tmp_path / "out" / "model")


def test_a_model_without_an_export_says_so(
    registry: Registry, models: tuple[Path, Path], tmp_path: Path
) -> None:
    number = registry.add(Candidate("run", models[0], None)).number
    with pytest.raises(ConfigurationError, match="has no onnx"):
        registry.onnx(number, tmp_path / "onnx")
    assert list(tmp_path.glob(".onnx*")) == []


def test_mlflow_holds_parameters_figures_plots_and_the_signature(
    registry: Registry, models: tuple[Path, Path], tmp_path: Path
) -> None:
    from mlflow import MlflowClient
    from mlflow.models import get_model_info

    registry.add(candidate(models, "run"))
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("justlens-text").experiment_id])
    assert run.data.params == {"passes": "4"}
    assert run.data.metrics["mrr_at_10"] == 0.5
    losses = client.get_metric_history(run.info.run_id, "training_loss")
    assert [(each.step, each.value) for each in losses] == [(1, 2.0), (2, 1.0)]
    plots = {each.path for each in client.list_artifacts(run.info.run_id, "plots")}
    assert plots == {"plots/loss.png", "plots/mrr.png"}
    signature = get_model_info("models:/justlens-text/1").signature
    (output,) = signature.outputs
    assert (output.type.name, output.shape) == ("float32", (-1, 32))


def test_trials_of_a_search_are_kept_beside_the_models(registry: Registry, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    registry.note_trial("search-1", {"noise": 0.2}, 0.9)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("justlens-text").experiment_id])
    assert run.data.params == {"noise": "0.2"}
    assert run.data.metrics == {"score": 0.9}
    assert (run.data.tags["search"], run.info.status) == ("search-1", "FINISHED")
    assert registry.versions() == []
