"""How well a name alone says which photos are its own, over a table written by hand."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from cli.evaluate import read_renames
from models.image_text import Label
from pipeline.embeddings import TextEmbeddings
from pipeline.scoring import Scorer
from pipeline.settings import Settings
from pipeline.stores.vectors_sqlite import SqliteVectors
from pipeline.vocabulary import Background, WordWeights

DATA = Path(__file__).parents[3] / "benchmarks" / "data"
RENAMES = read_renames(DATA / "renamed_categories.tsv")

Scores = Callable[[str], Mapping[str, float]]
"""A name to the score of every class, as that of a photo of it alone."""


def listed(cell: str) -> set[str]:
    return {name.strip() for name in cell.split(";") if name.strip()}


@pytest.fixture(scope="module")
def kinds() -> dict[str, tuple[set[str], set[str]]]:
    """What photos of each kind of business show, and what they surely do not."""
    with (DATA / "class_categories.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    known = set().union(*(listed(row["shows"]) for row in rows))
    return {
        row["category"]: (
            listed(row["shows"]),
            known - listed(row["shows"]) - listed(row["may show"]),
        )
        for row in rows
    }


@pytest.fixture(scope="module")
def scores(conse, kinds, tmp_path_factory: pytest.TempPathFactory) -> Scores:
    store = SqliteVectors(f"sqlite:///{tmp_path_factory.mktemp('vectors')}/vectors.db")
    text = TextEmbeddings(conse.encode_texts, "texts", store)
    names = TextEmbeddings(conse.encode_names, "names", store, conse.classes)
    background = Background("table", tuple(kinds))
    scorer = Scorer(Settings(), background, text, names, WordWeights(list(kinds)))
    classes = {name.partition(",")[0]: name for name in reversed(conse.load().names)}
    photos = {
        first: conse.vector_from_labels([Label(name, 1.0)]) for first, name in classes.items()
    }

    def score(name: str) -> dict[str, float]:
        nothing = [None] * len(photos)
        targets = scorer.targets([name])
        (found,) = scorer.scores(targets, list(photos.values()), nothing, nothing)
        return {first: one.value or 0.0 for first, one in zip(photos, found, strict=True)}

    return score


def in_order(scores: Mapping[str, float], own: set[str], foreign: set[str]) -> float:
    """Share of the pairs of an own and a foreign photo in which the own one comes first."""
    above = np.array([scores[name] for name in own])[:, None]
    return float((above > np.array([scores[name] for name in foreign])).mean())


def test_every_renamed_category_is_in_the_table_and_its_other_name_is_not(kinds) -> None:
    assert len(RENAMES) == 30
    assert set(RENAMES) <= set(kinds)
    assert not {name.lower() for name in RENAMES.values()} & {name.lower() for name in kinds}


def test_names_that_nothing_was_fitted_to_put_their_own_photos_first(kinds, scores) -> None:
    found = [in_order(scores(name), *kinds[name]) for name in kinds]
    assert np.mean(found) > 0.985


def test_a_category_under_another_name_loses_little(kinds, scores) -> None:
    own = [in_order(scores(name), *kinds[name]) for name in RENAMES]
    other = [in_order(scores(RENAMES[name]), *kinds[name]) for name in RENAMES]
    assert np.mean(own) - np.mean(other) < 0.02
