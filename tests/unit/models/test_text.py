from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import models
from models import artefacts, static_export
from models.text import SentenceOnnx, TextEncoder


@pytest.fixture(scope="module", params=["minilm", "static"])
def encoder(request, weights) -> TextEncoder:
    return models.create("text", request.param, weights=weights, threads=2)


def test_like_sentences_lie_closer_than_unlike_ones(encoder):
    salon, barber, pipes = encoder(
        ["a hair salon", "the place where I get my hair cut", "a plumber mends a water pipe"]
    )
    assert salon @ barber > 0.4 > salon @ pipes + 0.2


def test_vectors_are_float32_and_of_length_one(encoder):
    vectors = encoder(["bakery", "", "a long evening at the restaurant by the sea"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, encoder.dimension) == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_vectors(encoder):
    assert encoder([]).shape == (0, 384)


def test_a_text_has_the_same_vector_whatever_it_is_encoded_with(encoder):
    texts = ["dentist", "a dentist who is open on Sundays " * 8, "", "florist", "DENTIST!!! " * 20]
    together = encoder(texts)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_array_equal(encoder([text])[0], vector)


def test_text_beyond_the_limit_is_cut_and_not_refused(encoder):
    long = "bread " * 1000
    np.testing.assert_allclose(encoder([long]), encoder([long + "and a motorcycle"]), atol=1e-6)


def test_threads_share_one_encoder(encoder):
    texts = [f"shop number {number}" for number in range(24)]
    expected = encoder(texts)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: encoder(texts), range(8)):
            np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_a_known_word_is_one_piece_and_an_unknown_one_several(encoder):
    assert encoder.pieces("restaurant") == 1
    assert encoder.pieces("phlebotomist") > 1


def test_a_folder_with_an_exported_encoder_serves_under_its_own_identity(minilm, weights):
    folder = artefacts.ensure(weights, "minilm")
    champion = SentenceOnnx(weights=weights, threads=2, folder=folder, identity="champion@7")
    assert champion.identity == "champion@7"
    np.testing.assert_allclose(champion(["bakery"]), minilm(["bakery"]), atol=1e-6)


def test_models_of_one_vocabulary_do_not_share_vectors(minilm, weights):
    static = models.create("text", "static", weights=weights, threads=2)
    assert static.identity != minilm.identity


def test_small_words_weigh_little_in_a_static_encoder(weights):
    static = models.create("text", "static", weights=weights, threads=2)
    bare, phrase, other = static(["florist", "of the florist", "of the dentist"])
    assert bare @ phrase > 0.95
    assert phrase @ other < 0.6


def test_what_all_pieces_have_in_common_is_taken_away_and_frequent_ones_weigh_less():
    random = np.random.default_rng(0)
    shared = np.outer(random.normal(5, 1, 200), random.normal(size=16))
    pieces = shared + random.normal(scale=0.1, size=(200, 16))
    counts = np.zeros(200)
    counts[7] = 1_000_000
    rows = static_export.table(pieces, counts, special=np.array([0, 1]), first=1)
    lengths = np.linalg.norm(rows, axis=1)
    assert lengths[7] < 0.01 * np.median(lengths)
    assert lengths[0] == 0
    assert 0 < lengths[1] < 1e-5
    # Of the direction that made the pieces alike nothing is left.
    common = np.linalg.svd(shared, full_matrices=False)[2][0]
    assert np.abs(rows[2:] @ common).max() < 0.05
