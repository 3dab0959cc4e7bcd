"""Looks for a recipe that trains better, within few trials."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.text_training.recipe import Recipe

if TYPE_CHECKING:
    import optuna

Objective = Callable[[Recipe, Path], float]
"""Trains by a recipe in a folder of its own; returns the score of the check, higher is better."""


@dataclass(frozen=True)
class Trial:
    """A recipe that was tried."""

    recipe: Recipe
    score: float


def search(
    objective: Objective,
    start: Recipe,
    trials: int,
    folder: Path,
    on_trial: Callable[[Trial], object] = lambda trial: None,
) -> list[Trial]:
    """Tries recipes around `start`, which is the first; returns all that were tried, best first.

    By Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), seeded by the recipe.
    Called again after it was killed it goes on: trials that are done stay, and the one that was
    begun is tried again from its last checkpoint.

    Parameters
    ----------
    trials:
        Of all, those done before included.
    folder:
        Of the search: its database, and a folder for the trial that is being made.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="recipe",
        storage=f"sqlite:///{folder}/trials.db",
        sampler=optuna.samplers.TPESampler(seed=start.seed),
        direction="maximize",
        load_if_exists=True,
    )
    if not study.trials:
        study.enqueue_trial({name: getattr(start, name) for name in _RANGES})
    _again(study)
    while len(_complete(study)) < trials:
        trial = study.ask()
        drawn: dict[str, Any] = {name: draw(trial) for name, draw in _RANGES.items()}
        recipe = replace(start, **drawn)
        attempt = folder / "trial"
        score = objective(recipe, attempt)
        study.tell(trial, score)
        shutil.rmtree(attempt, ignore_errors=True)
        on_trial(Trial(recipe, score))
    found = [
        Trial(replace(start, **each.params), each.value)
        for each in _complete(study)
        if each.value is not None
    ]
    return sorted(found, key=lambda trial: -trial.score)


def written(recipe: Recipe) -> str:
    """A recipe as TOML."""
    return "".join(f"{name} = {value!r}\n" for name, value in asdict(recipe).items())


_RANGES: "dict[str, Callable[[optuna.Trial], float]]" = {
    "learning_rate": lambda trial: trial.suggest_float("learning_rate", 1e-5, 2e-4, log=True),
    "scale": lambda trial: trial.suggest_float("scale", 10.0, 40.0, log=True),
    "noise": lambda trial: trial.suggest_float("noise", 0.0, 0.3),
    "replay": lambda trial: trial.suggest_float("replay", 0.5, 3.0),
}


def _complete(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    import optuna

    return study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))


def _again(study: "optuna.Study") -> None:
    """Queues what a killed search had begun."""
    import optuna

    for begun in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(begun.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(begun.params)
