"""The relevance of an image to a category."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.embeddings import TextEmbeddings
from pipeline.scoring import Score, Scorer, shares
from pipeline.settings import Settings
from pipeline.stores.vectors_sqlite import SqliteVectors
from pipeline.vocabulary import Background, WordWeights

SETTINGS = Settings(
    weight_description=0.25,
    weight_image=0.55,
    weight_category_match=0.20,
    softmax_scale=20.0,
    synonym_cosine=0.75,
    one_class_threshold=0.02,
)
NAMES = ("pizza", "museum", "garage", "florist", "bank", "school")
AXES = {name: index for index, name in enumerate(NAMES)}


def axis(name: str) -> np.ndarray:
    return np.eye(len(NAMES), dtype=np.float32)[AXES[name]]


def between(*names: str) -> np.ndarray:
    """The unit vector half-way between names."""
    total = np.sum([axis(name) for name in names], axis=0)
    return total / np.linalg.norm(total)


def encode(texts: Sequence[str]) -> np.ndarray:
    """A name is an axis of its own; ``pizzeria`` is nearly the same as ``pizza``."""
    if not texts:
        return np.empty((0, len(NAMES)), dtype=np.float32)
    near = axis("pizza") + 0.3 * axis("museum")
    return np.stack(
        [near / np.linalg.norm(near) if text == "pizzeria" else axis(text) for text in texts]
    )


@pytest.fixture
def vectors(tmp_path: Path) -> Iterator[SqliteVectors]:
    store = SqliteVectors(f"sqlite:///{tmp_path}/vectors.db")
    yield store
    store.close()


@pytest.fixture
def scorer(vectors: SqliteVectors) -> Scorer:
    return make(vectors, NAMES)


def make(vectors: SqliteVectors, background: Sequence[str]) -> Scorer:
    texts = TextEmbeddings(encode, "axes@1", vectors)
    return Scorer(
        SETTINGS, Background("v", tuple(background)), texts, texts, WordWeights(background)
    )


@pytest.fixture
def mixing(vectors: SqliteVectors) -> Scorer:
    """For pictures that are mixtures of four classes: pizza, bank, school, and a bit of each."""
    classes = np.stack([axis("pizza"), axis("bank"), axis("school"), between(*NAMES)])
    texts = TextEmbeddings(encode, "axes@1", vectors)
    pictures = TextEmbeddings(encode, "axes@1", vectors, lambda: classes)
    return Scorer(SETTINGS, Background("v", NAMES), texts, pictures, WordWeights(NAMES))


def weights(*values: float) -> np.ndarray:
    """A picture's vector, of unit length, by the probabilities of its classes."""
    return np.array(values, dtype=np.float32) / np.linalg.norm(values)


def image_parts(scorer: Scorer, name: str, pictures: Sequence[np.ndarray]) -> list[float]:
    nothing = [None] * len(pictures)
    (scores,) = scorer.scores(scorer.targets([name]), pictures, nothing, nothing)
    return [score.parts["image"] for score in scores]


def share(vectors: np.ndarray, name: str, rivals: Sequence[str], scale: float) -> np.ndarray:
    """The share (N,) of a name in each of some vectors."""
    cosines = vectors @ encode(rivals).T
    everyone = np.ones((1, len(rivals)), bool)
    return shares((vectors @ axis(name))[None], cosines, everyone, scale)[0]


def test_a_share_is_a_softmax() -> None:
    found = share(between("pizza", "museum")[None], "pizza", ["museum", "bank"], 20.0)
    cosines = [math.sqrt(0.5), math.sqrt(0.5), 0.0]
    whole = sum(math.exp(20 * cosine) for cosine in cosines)
    assert found[0] == pytest.approx(math.exp(20 * math.sqrt(0.5)) / whole, rel=1e-5)


def test_the_more_a_photo_shows_its_target_the_larger_is_its_share() -> None:
    photos = np.stack(
        [
            axis("bank"),
            between("pizza", "bank", "school"),
            between("pizza", "bank"),
            axis("pizza"),
        ]
    )
    found = share(photos, "pizza", NAMES[1:], 20.0)
    assert (np.diff(found) > 0).all()
    assert (found <= 1).all()


def test_a_photo_that_is_a_little_like_everything_loses_to_one_that_is_like_little_else() -> None:
    busy = between("pizza", "museum", "garage", "florist")
    plain = 0.5 * axis("pizza") + math.sqrt(0.75) * np.zeros(6, dtype=np.float32)
    assert busy @ axis("pizza") == pytest.approx(plain @ axis("pizza"))
    found = share(np.stack([busy, plain]), "pizza", NAMES[1:], 20.0)
    assert found[1] > found[0]


def test_large_scales_neither_overflow_nor_underflow() -> None:
    found = share(np.stack([axis(name) for name in NAMES]), "pizza", NAMES[1:], 5000.0)
    assert found == pytest.approx(axis("pizza"))


def test_without_rivals_everything_is_the_targets() -> None:
    assert share(axis("bank")[None], "pizza", [], 20.0) == pytest.approx(1.0)


def test_near_synonyms_of_a_category_are_not_held_against_it(vectors: SqliteVectors) -> None:
    def score(background: Sequence[str], name: str) -> Score:
        scorer = make(vectors, background)
        return scorer.scores(scorer.targets([name]), [axis("pizza")], [None], [None])[0][0]

    assert score((*NAMES, "pizzeria"), "pizza") == score(NAMES, "pizza")
    assert score((*NAMES, "pizzeria"), "museum").value < score(NAMES, "museum").value


def test_what_is_a_near_synonym_is_said_by_the_text_encoder_alone(vectors: SqliteVectors) -> None:
    def much_alike(names: Sequence[str]) -> np.ndarray:
        crowded = encode(names) + 3 * axis("school")
        return crowded / np.linalg.norm(crowded, axis=1, keepdims=True)

    text = TextEmbeddings(encode, "axes@1", vectors)
    image_text = TextEmbeddings(much_alike, "crowded@1", vectors)
    scorer = Scorer(SETTINGS, Background("v", NAMES), text, image_text, WordWeights(NAMES))
    bank, museum = targets = scorer.targets(["bank", "museum"])
    (photo,) = much_alike(["bank"])
    assert bank.image @ museum.image > SETTINGS.synonym_cosine
    (of_bank,), (of_museum,) = scorer.scores(targets, [photo], [None], [None])
    assert of_bank.value > of_museum.value


def test_pictures_have_a_scale_of_their_own(vectors: SqliteVectors) -> None:
    texts = TextEmbeddings(encode, "axes@1", vectors)
    settings = SETTINGS.model_copy(update={"image_softmax_scale": 100.0})
    scorer = Scorer(settings, Background("v", NAMES), texts, texts, WordWeights(NAMES))
    both = between("pizza", "bank", "bank")
    ((score,),) = scorer.scores(scorer.targets(["pizza"]), [both], [both], [None])
    parts = score.parts
    assert parts["image_cosine"] == pytest.approx(parts["description_cosine"])
    assert parts["image"] < 0.1 < parts["description"]


def test_the_share_of_a_mixture_is_the_mixture_of_shares(mixing: Scorer) -> None:
    half, pizza, bank = image_parts(
        mixing, "pizza", [weights(0.5, 0.5, 0, 0), weights(1, 0, 0, 0), weights(0, 1, 0, 0)]
    )
    assert half**4 == pytest.approx((pizza**4 + bank**4) / 2)


def test_a_mixture_counts_its_classes_by_proportion_and_not_by_size(mixing: Scorer) -> None:
    sure, unsure = image_parts(
        mixing, "pizza", [weights(0.9, 0.09, 0, 0), np.array([0.1, 0.01, 0, 0], dtype=np.float32)]
    )
    assert sure == pytest.approx(unsure)


def test_one_class_that_fits_counts_more_than_one_that_fits_everything(mixing: Scorer) -> None:
    one, vague = image_parts(mixing, "pizza", [weights(0.2, 0.4, 0.4, 0), weights(0, 0, 0, 1)])
    assert one > vague


def test_the_flag_of_a_mixture_goes_by_its_share(mixing: Scorer) -> None:
    assert mixing.shows(weights(0, 1, 0, 0), ["museum", "bank"])[0]
    assert not mixing.shows(weights(0, 1, 0, 0), ["museum", "pizza"])[0]


def test_the_cosine_of_a_mixture_is_the_mean_of_its_classes(mixing: Scorer) -> None:
    picture = weights(0.25, 0.75, 0, 0)
    ((score,),) = mixing.scores(mixing.targets(["pizza"]), [picture], [None], [None])
    assert score.parts["image_cosine"] == pytest.approx(0.25)


def test_the_classes_of_an_encoder_without_any_are_the_names_around(scorer: Scorer) -> None:
    labels = scorer.labels(axis("pizza"), ["pizzeria", "bank"])
    assert [name for name, _ in labels][:2] == ["pizza", "pizzeria"]
    assert sorted(name for name, _ in labels) == sorted([*NAMES, "pizzeria"])
    assert sum(share for _, share in labels) == pytest.approx(1.0)


def test_a_score_is_the_weighted_mean_of_its_parts(scorer: Scorer) -> None:
    targets = scorer.targets(["pizza"])
    ((score,),) = scorer.scores(targets, [axis("pizza")], [between("pizza", "bank")], [True])
    parts = score.parts
    assert score.value == pytest.approx(
        0.25 * parts["description"] + 0.55 * parts["image"] + 0.20 * 1.0
    )
    assert parts["image_cosine"] == pytest.approx(1.0)
    assert parts["description_cosine"] == pytest.approx(math.sqrt(0.5))
    assert 0 < parts["description"] < parts["image"] <= 1


def test_missing_parts_leave_their_weight_to_the_others(scorer: Scorer) -> None:
    picture, description = between("pizza", "school"), between("pizza", "bank", "school")
    ((shown, told, both, refused, nothing),) = scorer.scores(
        scorer.targets(["pizza"]),
        [picture, None, picture, picture, None],
        [None, description, description, None, None],
        [None, None, None, False, None],
    )
    assert shown.value == pytest.approx(shown.parts["image"])
    assert told.value == pytest.approx(told.parts["description"])
    image, words = both.parts["image"], both.parts["description"]
    assert both.value == pytest.approx((0.55 * image + 0.25 * words) / 0.80)
    assert refused.value == pytest.approx(0.55 * image / 0.75)
    assert (nothing.value, nothing.parts) == (None, {})


def test_targets_scored_together_have_the_scores_that_each_has_alone(scorer: Scorer) -> None:
    targets = scorer.targets(["pizza", "bank", "pizzeria"])
    given = (
        [axis("bank"), None, between("pizza", "museum")],
        [between("pizza", "bank"), axis("school"), None],
        [None, True, False],
    )
    together = scorer.scores(targets, *given)
    for target, scores in zip(targets, together, strict=True):
        ((first, second, third),) = scorer.scores([target], *given)
        for alone, found in zip((first, second, third), scores, strict=True):
            assert found.parts == pytest.approx(alone.parts)
            assert found.value == pytest.approx(alone.value)
    assert scorer.scores([], *given) == []


def test_scores_keep_the_order_of_the_images(scorer: Scorer) -> None:
    pictures = [axis("bank"), None, axis("museum"), between("museum", "bank")]
    (scores,) = scorer.scores(scorer.targets(["museum"]), pictures, [None] * 4, [None] * 4)
    values = [score.value for score in scores]
    assert values[1] is None
    assert values[2] > values[3] > values[0]


def test_a_target_is_the_mean_of_its_words_by_their_rarity(vectors: SqliteVectors) -> None:
    def by_words(texts: Sequence[str]) -> np.ndarray:
        return np.stack([between(*text.split()) for text in texts])

    texts = TextEmbeddings(by_words, "words@1", vectors)
    weights = WordWeights(["pizza bank", "pizza school", "pizza museum"])
    scorer = Scorer(SETTINGS, Background("v", NAMES), texts, texts, weights)
    (target,) = scorer.targets(["pizza bank"])
    rare, common = weights.idf("bank"), weights.idf("pizza")
    assert target.text @ axis("bank") / (target.text @ axis("pizza")) == pytest.approx(
        rare / common
    )
    assert rare > common
    assert target.image == pytest.approx(between("pizza", "bank"))


def test_targets_are_kept_and_come_in_the_order_asked_for(
    scorer: Scorer, vectors: SqliteVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    pizza, bank = scorer.targets(["pizza", "bank"])
    asked: list[str] = []
    read = vectors.texts
    monkeypatch.setattr(
        vectors, "texts", lambda model, texts: asked.extend(texts) or read(model, texts)
    )
    again = scorer.targets(["bank", "museum", "pizza", "bank"])
    assert [target.name for target in again] == ["bank", "museum", "pizza", "bank"]
    assert (again[0], again[2]) == (bank, pizza)
    assert set(asked) == {"museum"}


def test_no_more_targets_are_kept_than_a_worker_needs(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.scoring.MOST_TARGETS", 2)
    first = scorer.targets(["pizza", "bank"])
    assert [target.name for target in scorer.targets(["museum", "bank"])] == ["museum", "bank"]
    assert scorer.targets(["pizza"])[0] is not first[0]


def test_the_one_class_flag_says_whether_any_category_is_shown(scorer: Scorer) -> None:
    shows, share = scorer.shows(axis("pizza"), ["museum", "pizza"])
    assert shows
    assert share > 0.9
    shows, share = scorer.shows(axis("bank"), ["museum", "pizza"])
    assert not shows
    assert share < 0.02
    assert scorer.shows(axis("bank"), []) == (False, 0.0)


SPACE = {
    text: vector / np.linalg.norm(vector)
    for text, vector in zip(
        [f"name {number}" for number in range(40)] + ["red sofa", "xqzvw"],
        np.random.default_rng(8).normal(size=(42, 64)).astype(np.float32),
        strict=True,
    )
}


@pytest.fixture
def directory(vectors: SqliteVectors) -> Scorer:
    """A scorer whose background are forty names that have nothing to do with each other."""
    texts = TextEmbeddings(lambda names: np.stack([SPACE[n] for n in names]), "space@1", vectors)
    names = tuple(text for text in SPACE if text.startswith("name"))
    return Scorer(SETTINGS, Background("v", names), texts, texts, WordWeights(names))


def test_a_text_is_held_against_descriptions_alone(directory: Scorer) -> None:
    shows = SPACE["red sofa"] + 0.5 * SPACE["name 1"]
    photos = np.stack([SPACE["name 2"], shows / np.linalg.norm(shows)])
    ((other, sofa),) = directory.described("red sofa", [photos])  # type: ignore[misc]
    assert sofa.value is not None
    assert other.value is not None
    assert sofa.value > 0.9 > other.value
    assert sofa.parts["description"] == sofa.value
    assert sofa.parts["description_cosine"] == pytest.approx(photos[1] @ SPACE["red sofa"])
    assert "image" not in sofa.parts


def test_a_text_that_fits_no_photo_better_than_unrelated_names_do_says_nothing(
    directory: Scorer,
) -> None:
    about_names = np.stack([SPACE[f"name {number}"] for number in range(10)])
    about_sofas = np.stack([SPACE["red sofa"]])
    assert directory.described("xqzvw", [about_names, about_sofas]) == [None, None]
    found = directory.described("red sofa", [about_names, about_sofas])
    assert [scores is None for scores in found] == [True, False]


def test_a_text_says_nothing_of_a_business_without_descriptions(directory: Scorer) -> None:
    assert directory.described("red sofa", [np.empty((0, 64), np.float32)]) == [None]
