"""How far the vectors of new pieces go in a training, and that nothing else goes further."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from models.text_training.data import Example, as_retrieval
from models.text_training.recipe import Recipe
from models.text_training.train import Lesson, train
from models.text_training.vocabulary import extend, new_pieces
from tests import tiny_bert

EXAMPLES = [
    Example("mehndi shop", "wedding hair"),
    Example("fresh bread", "bread near the shop"),
    Example("mehndi near the shop", "hair at the wedding"),
    Example("cake", "wedding cake"),
]
VECTORS = "embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a piece that it was never trained on."""
    folder = tmp_path_factory.mktemp("pieces")
    champion = tiny_bert.save(folder / "champion")
    extend(champion, folder / "start", ["mehndi"])
    assert new_pieces(champion, folder / "start") == 1
    return folder / "start"


def moved(start: Path, folder: Path, count: int, **changes: float) -> tuple[np.ndarray, float]:
    """How far each vector of a piece has gone, and the furthest of all other weights."""
    recipe = Recipe(
        **{"passes": 2, "batch": 2, "replay": 0.0, "noise": 0.0, "trained": 1.0, **changes}
    )
    lesson = Lesson(EXAMPLES, [], as_retrieval(EXAMPLES))
    train(start, lesson, recipe, folder, threads=1, new_pieces=count)
    before, after = (load_file(place / "model.safetensors") for place in (start, folder / "model"))
    distances = np.linalg.norm(after[VECTORS] - before[VECTORS], axis=1)
    others = [np.abs(after[name] - before[name]).max() for name in before if name != VECTORS]
    return distances, float(max(others))


def test_vectors_of_new_pieces_go_further_and_no_other_weight_does(
    start: Path, tmp_path: Path
) -> None:
    alike, others_alike = moved(start, tmp_path / "alike", 1, pieces_rate=1.0)
    ahead, others_ahead = moved(start, tmp_path / "ahead", 1, pieces_rate=20.0)
    assert ahead[-1] > 10 * alike[-1] > 0
    assert ahead[:-1].max() < 2 * alike[:-1].max()
    assert others_ahead < 2 * others_alike


def test_mixing_leaves_the_vectors_of_new_pieces_as_trained(start: Path, tmp_path: Path) -> None:
    whole, _ = moved(start, tmp_path / "whole", 1)
    half, _ = moved(start, tmp_path / "half", 1, trained=0.5)
    assert half[-1] == pytest.approx(whole[-1], rel=1e-5)
    assert half[:-1].max() == pytest.approx(whole[:-1].max() / 2, rel=1e-3)
