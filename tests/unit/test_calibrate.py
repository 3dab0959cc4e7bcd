"""The threshold of the one-class flag."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.calibrate import THRESHOLDS, Figures, figures, read_cases, recommended
from cli.main import app
from pipeline.errors import JustLensError
from pipeline.settings import settings
from tests.fast_models import ENVIRONMENT
from tests.pictures import encoded, plain

RED, GREEN, BLUE = (180, 40, 40), (40, 160, 60), (40, 60, 170)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two businesses whose categories are colours, each with a photo that is of another."""
    folder = tmp_path / "cases"
    folder.mkdir()
    for name, colour in {"red": RED, "green": GREEN, "blue": BLUE}.items():
        (folder / f"{name}.png").write_bytes(encoded(plain(colour)))
    entries = [business("a", "red", ["red", "blue"]), business("b", "green", ["green", "red"])]
    (folder / "businesses.json").write_text(json.dumps(entries))
    return folder


def business(docid: str, category: str, photos: list[str]) -> dict[str, object]:
    images = [
        {"product_id": number, "file": f"{name}.png", "category": name}
        for number, name in enumerate(photos, start=1)
    ]
    return {"docid": docid, "name": docid, "categories": {"1": category}, "images": images}


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CliRunner]:
    for name, value in {**ENVIRONMENT, "JUSTLENS_DATA_DIR": str(tmp_path / "var")}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield CliRunner()
    settings.cache_clear()


def test_precision_and_recall_of_a_threshold() -> None:
    shares = np.array([0.9, 0.5, 0.5, 0.1])
    belongs = np.array([True, True, False, True])
    assert figures(shares, belongs, 0.5) == Figures(0.5, 0.6667, 0.6667, 0.6667)
    assert figures(shares, belongs, 0.1) == Figures(0.1, 0.75, 1.0, 0.8571)
    assert figures(shares, belongs, 0.95) == Figures(0.95, 0.0, 0.0, 0.0)


def test_of_equally_good_thresholds_the_middle_one_is_recommended() -> None:
    rows = [Figures(t, 1.0, 1.0, f) for t, f in ((1, 0.5), (2, 0.9), (3, 0.9), (4, 0.9), (5, 0.1))]
    assert recommended(rows).threshold == 3


def test_no_threshold_is_recommended_where_none_flags_a_right_photo() -> None:
    with pytest.raises(JustLensError, match="not trained"):
        recommended([Figures(0.1, 0.0, 0.0, 0.0), Figures(0.2, 0.0, 0.0, 0.0)])


def test_labelled_photos_give_figures_at_every_threshold(folder: Path, runner: CliRunner) -> None:
    done = runner.invoke(app, ["calibrate", str(folder), "--json"], catch_exceptions=False)
    found = json.loads(done.stdout)
    assert found["encoder"] == "colour@1"
    assert (found["n"], found["belonging"]) == (4, 2)
    assert [row["threshold"] for row in found["thresholds"]] == list(THRESHOLDS)
    recalls = [row["recall"] for row in found["thresholds"]]
    assert recalls == sorted(recalls, reverse=True)
    assert found["recommended"]["f1"] == max(row["f1"] for row in found["thresholds"]) == 1.0
    assert found["in_force"]["threshold"] == settings().one_class_threshold
    assert not settings().data_dir.exists()


def test_people_read_a_table_and_the_setting_to_make(folder: Path, runner: CliRunner) -> None:
    done = runner.invoke(app, ["calibrate", str(folder)], catch_exceptions=False)
    assert "precision" in done.stdout
    assert "JUSTLENS_ONE_CLASS_THRESHOLD=" in done.stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{}", "not a list"),
        ('[{"docid": "a"}]', "categories"),
        ("[]", "photos that do not"),
        (json.dumps([business("a", "red", ["red", "red"])]), "photos that do not"),
    ],
)
def test_a_listing_that_nothing_can_be_learned_from_is_refused(
    tmp_path: Path, content: str, says: str
) -> None:
    (tmp_path / "businesses.json").write_text(content)
    with pytest.raises(JustLensError, match=says):
        read_cases(tmp_path)
