"""``justlens retrain run``."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from models.text_training.search import written
from pipeline.retraining.history import trials
from pipeline.settings import Settings
from pipeline.stores import open_stores
from tests.unit.retraining.test_run import RECIPE, chosen, files, tables, tiny

__all__ = ["chosen", "files", "tables", "tiny"]


def test_what_a_run_came_to_is_printed_and_remembered_for_the_page(
    files: Path,
    chosen: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, sts = tmp_path / "recipe.toml", str(files / "sts.csv")
    recipe.write_text(written(RECIPE))
    monkeypatch.setattr("cli.retrain_run.settings", lambda: chosen)
    words = ["--logs", str(files / "train.jsonl"), "--test", str(files / "test.jsonl")]
    words += ["--dev", str(files / "test.jsonl"), "--replay", sts, "--sts", sts]
    for _ in range(2):
        result = CliRunner().invoke(
            app, ["retrain", "run", *words, "--recipe", str(recipe), "--json"]
        )
        assert result.exit_code == 0, result.output + str(result.exception)
    report = json.loads(result.stdout)
    stores = open_stores(chosen)
    (trial,) = trials(stores.documents)
    stores.close()
    assert (trial.champion, trial.challenger) == ("text1", f"text{report['version']}")
    assert trial.promoted == report["decision"]["promoted"]
    assert trial.reasons == report["decision"]["reasons"]
