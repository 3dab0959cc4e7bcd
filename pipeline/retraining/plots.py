"""Pictures of a training for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOTTED = {
    "loss": "loss",
    "learning_rate": "learning rate",
    "mrr": "MRR@10 of the check",
    "spearman": "Spearman of the check",
}


def plots(curve: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, "Figure"]]:
    """A name and a figure for each quantity that was measured over the steps."""
    from matplotlib.figure import Figure

    for name, label in PLOTTED.items():
        points = [(point["step"], point[name]) for point in curve if name in point]
        if points:
            figure = Figure(figsize=(6, 4), layout="tight")
            axes = figure.add_subplot()
            axes.plot(*zip(*points, strict=True), marker=".")
            axes.set_xlabel("step")
            axes.set_ylabel(label)
            yield name, figure
