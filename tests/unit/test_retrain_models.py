import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.retrain_run import Files, plan
from models.export import sentence_encoder
from models.text_training.recipe import Recipe
from pipeline.errors import JustLensError
from pipeline.retraining.decision import Decision
from pipeline.retraining.registry import Candidate, open_registry
from pipeline.settings import Settings, settings
from tests import tiny_bert

NONE = dict.fromkeys(Files.__dataclass_fields__)


def files(**given: Path) -> Files:
    return Files(**{**NONE, **given})


def test_files_of_the_options_go_before_those_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("passes = 2\n")
    chosen = Settings(
        data_dir=tmp_path,
        retrain_sts=Path("set.csv"),
        retrain_replay=Path("set.csv"),
        retrain_recipe=tmp_path / "recipe.toml",
    )
    found = plan(files(logs=Path("l"), dev=Path("d"), sts=Path("own.csv")), chosen)
    assert (found.sts, found.replay) == (Path("own.csv"), Path("set.csv"))
    assert found.recipe == Recipe(passes=2)


def test_without_a_test_set_the_dev_set_decides_and_the_logs_are_checked_by() -> None:
    found = plan(files(logs=Path("l"), dev=Path("d")), Settings())
    assert (found.test, found.check) == (Path("d"), None)
    found = plan(files(logs=Path("l"), dev=Path("d"), test=Path("t")), Settings())
    assert (found.test, found.check) == (Path("t"), Path("d"))


def test_a_prepared_folder_has_it_all(tmp_path: Path) -> None:
    for name in ("train.jsonl", "dev.jsonl", "test.jsonl", "texts.jsonl"):
        (tmp_path / name).write_text("{}")
    found = plan(files(prepared=tmp_path), Settings())
    assert found.logs == tmp_path / "train.jsonl"
    assert found.check == tmp_path / "dev.jsonl"
    assert found.test == tmp_path / "test.jsonl"
    assert found.texts == tmp_path / "texts.jsonl"
    (tmp_path / "dev.jsonl").write_text("")
    assert plan(files(prepared=tmp_path), Settings()).check is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "nothing to learn from"),
        ({"logs": Path("l")}, "nothing to decide by"),
        ({"logs": Path("l"), "prepared": Path("p")}, "not both"),
    ],
)
def test_what_cannot_be_trained_on_is_said(given: dict[str, Path], reason: str) -> None:
    with pytest.raises(JustLensError, match=reason):
        plan(files(**given), Settings())


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("JUSTLENS_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def test_a_person_sees_promotes_and_takes_out_what_was_refused(data_dir: Path) -> None:
    run = CliRunner()
    assert json.loads(run.invoke(app, ["retrain", "status", "--json"]).stdout) == []
    source = tiny_bert.save(data_dir / "source")
    sentence_encoder(source, data_dir / "onnx")
    registry = open_registry(settings())
    registry.begin(Candidate("packaged", source, data_dir / "onnx"))
    refused = registry.add(Candidate("run", source, data_dir / "onnx", metrics={"mrr_at_10": 0.5}))
    registry.decide(refused.number, Decision(False, -0.1, None, ("MRR@10 0.5 against 0.7",)))

    shown = run.invoke(app, ["retrain", "status"], env={"COLUMNS": "200"}).stdout
    assert "champion" in shown
    assert "refused" in shown
    assert "MRR@10 0.5 against 0.7" in " ".join(shown.split())

    nobody = run.invoke(app, ["retrain", "promote", "2", "--by", " ", "--reason", "x"])
    assert isinstance(nobody.exception, JustLensError)
    why = ["--by", "Asha", "--reason", "the test set is too small", "--json"]
    promoted = json.loads(run.invoke(app, ["retrain", "promote", "2", *why]).stdout)
    assert promoted["aliases"] == ["challenger"]
    assert promoted["events"][-1]["by"] == "Asha"

    target = data_dir / "out"
    taken = run.invoke(app, ["retrain", "export", str(target), "--version", "challenger"])
    assert taken.exit_code == 0
    assert (target / "model.safetensors").is_file()
    served = run.invoke(app, ["retrain", "export", str(data_dir / "served"), "--onnx"])
    assert served.exit_code == 0
    assert (data_dir / "served" / "model.onnx").is_file()
    absent = run.invoke(app, ["retrain", "export", str(target), "--version", "9"])
    assert isinstance(absent.exception, JustLensError)
