from pathlib import Path

import pytest

from models.errors import UnsuitableInput
from models.text_training.recipe import Recipe, read_recipe


@pytest.mark.parametrize(
    ("name", "text"),
    [("recipe.toml", "passes = 2\nnoise = 0\n"), ("recipe.json", '{"passes": 2, "noise": 0}')],
)
def test_a_recipe_is_read_over_its_defaults(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_recipe(tmp_path / name) == Recipe(passes=2, noise=0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("passes = ", r"recipe\.toml is not what its name says"),
        ("epochs = 3", "unknown: epochs; known: seed, pieces"),
        ("passes = 0", "passes must be at least 1"),
        ("passes = 1.5", "passes is a number, not 1.5"),
        ("batch = true", "batch is a number, not True"),
        ("noise = 1.5", "noise must be between 0 and 1"),
        ("learning_rate = nan", "learning_rate must be above 0"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(UnsuitableInput, match=reason):
        read_recipe(path)


def test_an_absent_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsuitableInput, match=r"absent\.toml cannot be read"):
        read_recipe(tmp_path / "absent.toml")
