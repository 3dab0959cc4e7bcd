"""Looks for a recipe that suits an installation's logs."""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from models.text_training.recipe import Recipe
from models.text_training.search import Trial, search
from models.text_training.train import train
from models.text_training.vocabulary import choose, extend, new_pieces
from pipeline.retraining.plan import Plan
from pipeline.retraining.registry import Registry
from pipeline.retraining.run import first_or_present_champion
from pipeline.settings import Settings


def find_recipe(
    plan: Plan,
    settings: Settings,
    registry: Registry,
    trials: int,
    on_trial: Callable[[Trial], object] = lambda trial: None,
) -> list[Trial]:
    """Try recipes around the plan's; returns them with the check's score, best first.

    What a model is decided by is not looked at. The same call again, after a kill as well, goes on.
    """
    champion = first_or_present_champion(settings, registry)
    name = f"{champion}-{plan.digest}"
    folder = settings.data_dir / "retraining" / "searches" / name
    start, lesson = folder / "start", plan.lesson()
    base = folder / "champion"
    if not start.exists():
        shutil.rmtree(base, ignore_errors=True)
        registry.model(champion, base)
        extended = folder / "start.begun"
        shutil.rmtree(extended, ignore_errors=True)
        pieces = choose(base, plan.seen(), plan.recipe.pieces, plan.recipe.pieces_least)
        extend(base, extended, pieces)
        extended.rename(start)

    added = new_pieces(base, start)

    def trained(recipe: Recipe, attempt: Path) -> float:
        made = train(start, lesson, recipe, attempt, threads=settings.threads, new_pieces=added)
        return made.best_score

    def done(trial: Trial) -> None:
        registry.note_trial(name, asdict(trial.recipe), trial.score)
        on_trial(trial)

    return search(trained, plan.recipe, trials, folder, done)
