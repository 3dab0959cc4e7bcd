import math
from pathlib import Path

import pytest

from models.text_training.recipe import Recipe, read_recipe
from models.text_training.search import Trial, search, written


def like_a_learning_rate_of_1e_4(recipe: Recipe, folder: Path) -> float:
    return -abs(math.log(recipe.learning_rate / 1e-4))


def test_a_search_begins_with_the_recipe_and_ends_with_none_that_is_worse(tmp_path: Path) -> None:
    start = Recipe(learning_rate=2e-5, passes=2)
    told: list[Trial] = []
    found = search(like_a_learning_rate_of_1e_4, start, 12, tmp_path, told.append)
    assert told[0].recipe == start
    assert len(found) == len(told) == 12
    assert found[0].score == max(trial.score for trial in told) > told[0].score
    assert all(trial.recipe.passes == 2 for trial in found)


def test_a_killed_search_goes_on_with_the_trial_that_was_begun(tmp_path: Path) -> None:
    begun: list[Recipe] = []

    class Killed(BaseException):
        """What no handler of the search may take for a failed trial."""

    def dies_at_the_third(recipe: Recipe, folder: Path) -> float:
        begun.append(recipe)
        if len(begun) == 3:
            raise Killed
        return like_a_learning_rate_of_1e_4(recipe, folder)

    with pytest.raises(Killed):
        search(dies_at_the_third, Recipe(), 5, tmp_path)
    found = search(dies_at_the_third, Recipe(), 5, tmp_path)
    assert begun[3] == begun[2]
    assert len(found) == 5
    assert len(begun) == 6
    assert search(dies_at_the_third, Recipe(), 5, tmp_path) == found
    assert len(begun) == 6


def test_a_recipe_that_is_written_is_read_again(tmp_path: Path) -> None:
    recipe = Recipe(seed=3, learning_rate=1.25e-5, noise=0.0)
    (tmp_path / "recipe.toml").write_text(written(recipe))
    assert read_recipe(tmp_path / "recipe.toml") == recipe
