"""Training an enhancer further, and going on after a kill."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from filelock import FileLock
from PIL import Image
from typer.testing import CliRunner

from cli.main import app
from models.enhancer.checkpoints import read
from models.enhancer.degradation import degrade
from models.enhancer.finetune import Finetuning, Recipe
from models.errors import UnsuitableInput
from tests.unit.models.test_enhancer_checkpoints import SMALL, difference, enhancer, stored

RECIPE = Recipe("start@1", crop=16, batch=2, learning_rate=1e-3)


class Killed(Exception):
    pass


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost networks this small more than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("coffee", "chelsea"):
        Image.fromarray(getattr(skimage.data, name)()[:200, :200]).save(folder / f"{name}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return stored(tmp_path, SMALL[1])


def rgb(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def training(folder: Path, start: Path, photos: list[Path], recipe: Recipe = RECIPE) -> Finetuning:
    return Finetuning(read(start), recipe, photos, rgb, folder)


def losses(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]


def test_every_step_is_recorded_and_the_result_is_an_enhancer(
    tmp_path: Path, start: Path, photos: list[Path], cat: np.ndarray
) -> None:
    run = training(tmp_path / "run", start, photos)
    seen: list[int] = []
    run.run(4, 2, lambda step, _: seen.append(step))
    assert seen == [1, 2, 3, 4]
    recorded = losses(tmp_path / "run")
    assert [line["step"] for line in recorded] == seen
    assert all(np.isfinite(line["l_g_pix"]) and line["l_g_gan"] > 0 for line in recorded)
    tuned = enhancer(run.weights, tmp_path)
    assert tuned.architecture == SMALL[1]
    assert tuned([cat[:20, :30]], 2)[0].shape == (40, 60, 3)
    trained = torch.load(run.weights, weights_only=True)["params"]
    assert any(not torch.equal(trained[key], value) for key, value in read(start).tensors().items())


def test_training_brings_the_results_nearer_to_the_photos(
    tmp_path: Path, start: Path, photos: list[Path]
) -> None:
    run = training(tmp_path / "run", start, photos)
    run.run(40, 40)
    found = [line["l_g_pix"] for line in losses(tmp_path / "run")]
    assert np.mean(found[-10:]) < 0.8 * np.mean(found[:5])


def test_a_killed_training_goes_on_as_if_it_had_not_been(
    tmp_path: Path, start: Path, photos: list[Path]
) -> None:
    def kill(step: int, _: object) -> None:
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        training(tmp_path / "killed", start, photos).run(7, 2, kill)
    again = training(tmp_path / "killed", start, photos)
    assert again.steps_done == 4
    seen: list[int] = []
    again.run(7, 2, lambda step, _: seen.append(step))
    assert seen == [5, 6, 7]

    through = training(tmp_path / "through", start, photos)
    through.run(7, 2)
    for first, second in zip(losses(again.folder), losses(through.folder), strict=True):
        assert first == pytest.approx(second, rel=1e-3)
    for key in ("params", "params_ema"):
        ended, straight = (
            torch.load(run.weights, weights_only=True)[key] for run in (again, through)
        )
        assert all(torch.allclose(ended[name], straight[name], atol=1e-5) for name in ended)
    assert len(list((tmp_path / "killed" / "checkpoints").iterdir())) == 1


def test_a_training_that_is_done_is_left_alone(
    tmp_path: Path, start: Path, photos: list[Path]
) -> None:
    training(tmp_path / "run", start, photos).run(1, 1)
    seen: list[int] = []
    training(tmp_path / "run", start, photos).run(1, 1, lambda step, _: seen.append(step))
    assert seen == []


def test_a_folder_goes_on_with_its_own_recipe_only(
    tmp_path: Path, start: Path, photos: list[Path]
) -> None:
    training(tmp_path / "run", start, photos)
    other = Recipe("start@1", crop=32, batch=2, learning_rate=1e-3)
    with pytest.raises(UnsuitableInput, match="crop 16, not 32"):
        training(tmp_path / "run", start, photos, other)


def test_two_trainings_do_not_share_a_folder(
    tmp_path: Path, start: Path, photos: list[Path]
) -> None:
    run = training(tmp_path / "run", start, photos)
    with FileLock(str(tmp_path / "run" / ".lock")), pytest.raises(UnsuitableInput, match="another"):
        run.run(1, 1)


@pytest.mark.parametrize(
    ("recipe", "complaint"),
    [
        (Recipe("start@1", crop=20), "multiple of 8"),
        (Recipe("start@1", crop=0), "multiple of 8"),
        (Recipe("start@1", batch=0), "at least 1"),
    ],
)
def test_recipes_that_cannot_work_are_refused(
    recipe: Recipe, complaint: str, tmp_path: Path, start: Path, photos: list[Path]
) -> None:
    with pytest.raises(UnsuitableInput, match=complaint):
        training(tmp_path / "run", start, photos, recipe)
    with pytest.raises(UnsuitableInput, match="no photo"):
        training(tmp_path / "run", start, [])
    assert not (tmp_path / "run").exists()


def test_a_photo_is_degraded_differently_each_time_and_alike_from_the_same_seed(
    cat: np.ndarray,
) -> None:
    good = np.ascontiguousarray(cat[100:164, 100:164])
    poor = [degrade(good, 4, np.random.default_rng(seed)) for seed in (1, 2, 1)]
    assert {(image.shape, image.dtype.name) for image in poor} == {((16, 16, 3), "uint8")}
    assert (poor[0] == poor[2]).all() and (poor[0] != poor[1]).any()
    # Channels stay in their places, and the picture the same picture.
    small = good.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(poor[0].mean(axis=(0, 1)) - small.mean(axis=(0, 1))).max() < 5
    assert difference(np.sort(poor[0].ravel())[::200], np.sort(small.ravel())[::200]) < 60


def test_the_command_trains_goes_on_and_names_the_enhancer(
    tmp_path: Path, start: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUSTLENS_DATA_DIR", str(tmp_path / "data"))
    (photos[0].parent / "notes.txt").write_text("no photo")
    Image.new("RGB", (20, 20)).save(photos[0].parent / "small.png")
    command = ["finetune-enhancer", str(photos[0].parent), "--from", f"path:{start}", "--json"]
    command += ["--out", str(tmp_path / "run"), "--crop", "32", "--batch", "1", "--steps"]
    results = []
    for steps in ("1", "2"):
        done = CliRunner().invoke(app, [*command, steps], catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
        results.append(json.loads(done.stdout))
    assert [(result["steps_before"], result["steps"]) for result in results] == [(0, 1), (1, 2)]
    assert results[1]["enhancer"] == f"path:{tmp_path}/run/weights.pth"
    assert "3/3" not in done.stderr and "2 large enough" in done.stderr
    enlarged = tmp_path / "large.png"
    done = CliRunner().invoke(
        app,
        ["enhance", "--raw", "--model", results[1]["enhancer"], str(photos[0]), str(enlarged)],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.stderr
    assert Image.open(enlarged).size == (400, 400)
