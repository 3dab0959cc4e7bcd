"""Figures drawn without a screen and written as SVG, the same bytes for the same figures."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams.update(
    {
        # Text stays text: files are a tenth, and can be searched.
        "svg.fonttype": "none",
        "svg.hashsalt": "justlens",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.constrained_layout.use": True,
    }
)

from matplotlib import pyplot  # noqa: E402

subplots = pyplot.subplots


def save(figure: Any, path: Path) -> None:
    """Write a figure on white, so that it can be read on a dark page, too, and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None})
    pyplot.close(figure)
