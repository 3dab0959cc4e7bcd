"""Which weights of a training are kept."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from models.text_training.train import _chosen


@pytest.mark.parametrize(
    ("last_score", "spread", "kept"),
    [
        (0.80, 0.10, 20),  # within a standard error of the best
        (0.80, 0.05, 10),  # worse by more than chance
        (-2.0, 0.10, 10),  # no numbers any more
        (0.95, 0.00, 20),
    ],
)
def test_the_last_weights_are_kept_unless_others_are_better_by_more_than_chance(
    last_score: float, spread: float, kept: int, tmp_path: Path
) -> None:
    for step in (10, 20):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text("{}")
    best = 10 if last_score < 0.88 else 20
    state = SimpleNamespace(
        best_model_checkpoint=str(tmp_path / f"checkpoint-{best}"),
        log_history=[
            {"step": 10, "loss": 1.0},
            {"step": 10, "eval_score": 0.88, "eval_standard_error": spread},
            {"step": 20, "eval_score": last_score, "eval_standard_error": 0.5},
        ],
    )
    assert _chosen(state, tmp_path) == tmp_path / f"checkpoint-{kept}"
