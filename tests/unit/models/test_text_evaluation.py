from collections.abc import Sequence

import numpy as np
import pytest

from models.errors import UnsuitableInput, UnsuitableWeights
from models.text_training.data import Example, Pair, Retrieval, as_retrieval
from models.text_training.evaluate import (
    Encoder,
    paraphrase,
    reciprocal_ranks,
    similarity,
)


def by_angle(**degrees: float) -> Encoder:
    """Gives each text the unit vector at its angle, so that cosines are known."""

    def encode(texts: Sequence[str]) -> np.ndarray:
        angles = np.radians([degrees[text] for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    return encode


def test_a_reciprocal_rank_is_that_of_the_first_right_text() -> None:
    encode = by_angle(q=0, near=10, nearer=5, right=20, far=90)
    searched = Retrieval(("q",), ("near", "right", "nearer", "far"), (frozenset({1, 3}),))
    assert reciprocal_ranks(encode, searched) == pytest.approx([1 / 3])


def test_a_right_text_below_the_tenth_counts_as_not_found() -> None:
    angles = {f"w{at}": float(at) for at in range(11)}
    corpus = (*angles, "right")
    encode = by_angle(q=0, right=9.5, **angles)
    searched = Retrieval(("q",), corpus, (frozenset({11}),))
    assert reciprocal_ranks(encode, searched) == pytest.approx([0.0])
    encode = by_angle(q=0, right=8.5, **angles)
    assert reciprocal_ranks(encode, searched) == pytest.approx([1 / 10])


def test_an_encoder_that_gives_all_texts_one_vector_finds_nothing_first() -> None:
    encode = by_angle(q=0, wrong=0, right=0)
    searched = Retrieval(("q",), ("right", "wrong"), (frozenset({0}),))
    assert reciprocal_ranks(encode, searched) == pytest.approx([1 / 2])


def test_a_query_does_not_find_itself() -> None:
    encode = by_angle(q=0, right=40, wrong=50)
    searched = Retrieval(("q",), ("q", "right", "wrong"), (frozenset({1}),))
    assert reciprocal_ranks(encode, searched) == pytest.approx([1.0])


def test_vectors_that_are_not_numbers_are_no_result() -> None:
    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.full((len(texts), 2), np.nan, dtype=np.float32)

    with pytest.raises(UnsuitableWeights, match="not numbers"):
        reciprocal_ranks(encode, Retrieval(("q",), ("a",), (frozenset({0}),)))


def test_anchors_that_come_twice_are_one_query_with_all_their_positives() -> None:
    found = as_retrieval(
        [Example("hina", "henna", "hyena"), Example("hina", "mehndi"), Example("tea", "hyena")]
    )
    assert found.queries == ("hina", "tea")
    assert found.corpus == ("henna", "hyena", "mehndi")
    assert found.relevant == (frozenset({0, 2}), frozenset({1}))


def test_correlations_agree_with_a_worked_example() -> None:
    encode = by_angle(a=0, b=60, c=90, d=0)
    # Cosines 0.5, 0, 1 and 1 against scores 0.5, 0.25, 1 and 0.75: one tie.
    pairs = [
        Pair("a", "b", 0.5),
        Pair("a", "c", 0.25),
        Pair("a", "d", 1.0),
        Pair("d", "a", 0.75),
    ]
    found = similarity(encode, pairs)
    assert found.spearman == pytest.approx(0.948683, abs=1e-5)
    assert found.pearson == pytest.approx(0.4375 / (0.6875 * 0.3125) ** 0.5)
    assert found.squared_error == pytest.approx((0.25**2 + 0.25**2) / 4)


def test_a_correlation_with_what_does_not_vary_is_none() -> None:
    assert similarity(by_angle(a=0), [Pair("a", "a", 0.1), Pair("a", "a", 0.9)]).spearman == 0.0


def test_a_correlation_of_one_pair_is_refused() -> None:
    with pytest.raises(UnsuitableInput, match="two pairs"):
        similarity(by_angle(a=0), [Pair("a", "a", 0.1)])


def test_f1_is_measured_on_pairs_that_the_threshold_was_not_chosen_on() -> None:
    random = np.random.default_rng(1)
    angles = {"q": 0.0}
    pairs = []
    for at in range(200):
        same = at % 2 == 0
        angles[f"t{at}"] = float(random.uniform(0, 30) if same else random.uniform(40, 90))
        pairs.append(Pair("q", f"t{at}", float(same)))
    found = paraphrase(by_angle(**angles), pairs)
    assert found.f1 == found.precision == found.recall == 1.0
    assert np.cos(np.radians(40)) < found.threshold < np.cos(np.radians(30))


def test_f1_counts_what_the_threshold_gets_wrong() -> None:
    # All paraphrases are as alike as all others: whatever is chosen says "same" of everything.
    pairs = [Pair("a", "b", float(at % 2)) for at in range(400)]
    found = paraphrase(by_angle(a=0, b=30), pairs)
    assert found.recall == 1.0
    assert found.precision == pytest.approx(0.5, abs=0.1)
    assert found.f1 == pytest.approx(2 * found.precision / (found.precision + 1))


def test_pairs_without_a_paraphrase_are_refused() -> None:
    with pytest.raises(UnsuitableInput, match="too few paraphrases"):
        paraphrase(by_angle(a=0), [Pair("a", "a", 0.0)] * 10)
