"""Retraining an untrained encoder of a few thousand weights, as a real one is."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models.export import sentence_encoder
from models.text_training.recipe import Recipe
from pipeline.errors import ConfigurationError
from pipeline.retraining.datasets import UnreadableDataset
from pipeline.retraining.plan import Plan
from pipeline.retraining.registry import Candidate, Registry, open_registry
from pipeline.retraining.run import Report, begin, resume
from pipeline.settings import Settings
from tests import tiny_bert

RECIPE = Recipe(passes=6, batch=16, learning_rate=3e-3, patience=9, noise=0.05, trained=0.9)
PLACES = ("bread", "cake", "wedding", "flower", "hair", "shop")
SAME = {"mehndi": "henna", "tiffin": "lunch", "godown": "depot", "cooler": "fan"}


def rows(places: tuple[str, ...]) -> str:
    """An unknown word means another one, or itself, which an untrained encoder finds, too."""
    words = list(SAME)
    return "".join(
        json.dumps(
            {
                "anchor": f"{word} near the {place} {end}",
                "positive": f"{word if end == 'fresh' else SAME[word]} at {place} {end}",
                "negative": f"{words[at - 1]} at {place} {end}",
            }
        )
        + "\n"
        for at, word in enumerate(words)
        for place in places
        for end in ("shop", "hair", "fresh")
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "train.jsonl").write_text(rows(PLACES[:4]))
    (folder / "test.jsonl").write_text(rows(PLACES[4:]))
    sts = "".join(
        f"{first} {one},{second} {two},{5 * (first == second) * (0.5 + 0.5 * (one == two))}\n"
        for first in PLACES
        for second in PLACES
        for one in ("near", "fresh")
        for two in ("near", "fresh")
    )
    (folder / "sts.csv").write_text(sts)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    folder = tmp_path_factory.mktemp("tiny")
    source = tiny_bert.save(folder / "source")
    sentence_encoder(source, folder / "onnx")
    return Candidate("tiny", source, folder / "onnx")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, tiny: Candidate) -> bytes:
    """A database of MLflow in which the tiny model is the champion."""
    folder = tmp_path_factory.mktemp("tables")
    Registry(f"sqlite:///{folder}/mlflow.db", folder / "mlflow").begin(tiny)
    return (folder / "mlflow.db").read_bytes()


@pytest.fixture
def chosen(tmp_path: Path, tables: bytes) -> Settings:
    (tmp_path / "mlflow.db").write_bytes(tables)
    return Settings(
        data_dir=tmp_path,
        threads=1,
        # Of models this small the figures jump.
        promote_latency_factor=100,
        guard_sts_spearman=0.5,
        guard_sts_pearson=0.5,
        guard_sts_squared_error=0.5,
    )


def plan(files: Path, recipe: Recipe = RECIPE) -> Plan:
    sts = files / "sts.csv"
    return Plan(files / "train.jsonl", files / "test.jsonl", recipe, replay=sts, sts=sts)


def retrained(
    files: Path, chosen: Settings, before_export: Callable[[Path], None] = lambda model: None
) -> Report:
    """A whole run; what was trained can be changed before it goes on."""
    run = begin(plan(files), chosen, open_registry(chosen))

    def on_step(step: str, done: int, total: int) -> None:
        if step == "export":
            before_export(run.folder / "training" / "model" / "model.safetensors")

    return run.run(on_step)


def test_a_better_model_becomes_the_challenger_and_is_all_in_the_registry(
    files: Path, chosen: Settings, tmp_path: Path
) -> None:
    report = retrained(files, chosen)
    assert report.decision.promoted, report.decision.reasons
    assert report.decision.interval is not None
    assert report.decision.interval[0] <= (report.decision.gain or 0) <= report.decision.interval[1]
    assert report.figures["mrr_at_10"] > report.champion_figures["mrr_at_10"] * 1.02
    registry = open_registry(chosen)
    version = registry.version("challenger")
    assert version.number == report.version
    assert version.metrics["mrr_at_10"] == report.figures["mrr_at_10"]
    assert version.metrics["champion_mrr_at_10"] == report.champion_figures["mrr_at_10"]
    assert version.events[0]["reasons"] == list(report.decision.reasons)
    assert registry.champion() is not None and registry.version("champion").run == "tiny"
    trial = begin(plan(files), chosen, registry).trial()
    assert (trial.champion, trial.challenger, trial.promoted) == ("text1", "text2", True)
    assert trial.metrics[0].challenger == report.figures["mrr_at_10"]
    assert trial.metrics[0].gain == report.decision.gain
    assert all(metric.passed for metric in trial.metrics)
    vocabulary = json.loads(
        (registry.onnx(report.version, tmp_path / "out") / "tokenizer.json").read_text()
    )["model"]["vocab"]
    assert "mehndi" in vocabulary

    began = time.monotonic()
    again = retrained(files, chosen)
    assert again == report
    assert len(registry.versions()) == 2
    assert time.monotonic() - began < 60
    assert not (tmp_path / "retraining" / "runs" / report.run / "training").exists()


def test_a_worse_model_is_refused(files: Path, chosen: Settings) -> None:
    def forget(weights: Path) -> None:
        state = load_file(weights)
        random = np.random.default_rng(0)
        name = "embeddings.word_embeddings.weight"
        state[name] = random.normal(size=state[name].shape).astype(np.float32)
        save_file(state, weights, metadata={"format": "pt"})

    report = retrained(files, chosen, forget)
    assert not report.decision.promoted
    assert report.decision.reasons[0].startswith("MRR@10")
    assert "it must be at least +2.00%" in report.decision.reasons[0]
    version = open_registry(chosen).version(report.version)
    assert version.aliases == ()
    assert version.events[0]["reasons"] == list(report.decision.reasons)


def test_a_slower_model_is_refused(files: Path, chosen: Settings) -> None:
    impatient = chosen.model_copy(update={"promote_latency_ms": 0.001})
    report = retrained(files, impatient)
    assert not report.decision.promoted
    assert "it must be at most 0 ms" in report.decision.reasons[0]


def test_a_model_that_forgot_what_is_alike_is_refused(files: Path, chosen: Settings) -> None:
    strict = chosen.model_copy(update={"guard_sts_squared_error": -1.0})
    report = retrained(files, strict)
    assert not report.decision.promoted
    assert report.decision.reasons[0].startswith("sts_squared_error")


def test_a_model_whose_weights_are_not_numbers_is_refused(files: Path, chosen: Settings) -> None:
    def spoil(weights: Path) -> None:
        state = load_file(weights)
        state["embeddings.LayerNorm.bias"][3] = np.nan
        save_file(state, weights, metadata={"format": "pt"})

    report = retrained(files, chosen, spoil)
    assert not report.decision.promoted
    (reason,) = report.decision.reasons
    assert reason.startswith("1 of its ")
    assert "no number, such as embeddings.LayerNorm.bias" in reason
    with pytest.raises(ConfigurationError, match="has no onnx"):
        open_registry(chosen).onnx(report.version, chosen.data_dir / "out")


def test_a_training_that_diverges_ends_in_a_refusal(files: Path, chosen: Settings) -> None:
    diverging = plan(files, replace(RECIPE, learning_rate=1e30, passes=2))
    report = begin(diverging, chosen, open_registry(chosen)).run()
    assert not report.decision.promoted
    assert "no number" in report.decision.reasons[0]


def test_a_champion_that_was_replaced_meanwhile_is_not_compared_with(
    files: Path, chosen: Settings, tiny: Candidate
) -> None:
    registry = open_registry(chosen)
    other = registry.add(Candidate("other", tiny.folder, tiny.onnx))
    registry.override(other.number, "Asha", "it is better")
    report = retrained(files, chosen, lambda model: registry.cut_over("it is better") and None)
    assert report.decision.reasons == ("the champion is not version 1 any more",)


def test_files_that_cannot_be_read_begin_no_run(files: Path, chosen: Settings) -> None:
    broken = files / "broken.csv"
    broken.write_text("a,b\n")
    asked = Plan(files / "train.jsonl", files / "test.jsonl", RECIPE, sts=broken)
    with pytest.raises(UnreadableDataset, match=r"broken\.csv, line 1: 2 fields"):
        begin(asked, chosen, open_registry(chosen)).run()
    assert not (chosen.data_dir / "retraining").exists()


def test_a_run_that_was_not_begun_cannot_be_resumed(chosen: Settings) -> None:
    with pytest.raises(ConfigurationError, match="no retraining '1-abc' was begun"):
        resume("1-abc", chosen, open_registry(chosen))


KILLED = """
import sys
from pathlib import Path
from pipeline.retraining.registry import open_registry
from pipeline.retraining.run import begin
from pipeline.settings import Settings
from tests.unit.retraining.test_run import plan
chosen = Settings(data_dir=Path(sys.argv[1]), threads=1)
begin(plan(Path(sys.argv[2])), chosen, open_registry(chosen)).run(
    lambda step, done, total: print(step, done, total, flush=True)
)
"""


def test_a_training_that_is_killed_goes_on_and_ends_as_if_it_had_not_been(
    files: Path, chosen: Settings, tables: bytes, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "mlflow.db").write_bytes(tables)
    undisturbed = begin(plan(files), *_of(chosen.model_copy(update={"data_dir": whole})))
    steps_of_all: list[int] = []
    expected: dict[str, np.ndarray] = {}

    def keep(step: str, done: int, total: int) -> None:
        if step == "training":
            steps_of_all.append(done)
        if step == "export":
            expected.update(load_file(undisturbed.folder / "training/model/model.safetensors"))

    undisturbed.run(keep)

    begun = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(chosen.data_dir), str(files)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert begun.stdout is not None
    # Behind the third of six checks, between two checkpoints.
    last = max(steps_of_all) * 3 // 6 + 2
    for line in begun.stdout:
        if line.startswith(f"training {last} "):
            begun.send_signal(signal.SIGKILL)
            break
    assert begun.wait(timeout=60) == -signal.SIGKILL

    name = undisturbed.name
    killed = resume(name, *_of(chosen))
    assert "training" not in killed.done
    steps: list[int] = []
    found: dict[str, np.ndarray] = {}

    def watch(step: str, done: int, total: int) -> None:
        if step == "training" and done:
            steps.append(done)
        if step == "export":
            found.update(load_file(killed.folder / "training/model/model.safetensors"))

    report = killed.run(watch)
    assert 1 < steps[0] <= last
    assert steps[-1] == max(steps_of_all)
    assert report.decision.promoted is not None
    assert found.keys() == expected.keys()
    for tensor, values in expected.items():
        np.testing.assert_allclose(found[tensor], values, atol=1e-6, err_msg=tensor)


def _of(chosen: Settings) -> tuple[Settings, Registry]:
    return chosen, open_registry(chosen)
