from concurrent.futures import ThreadPoolExecutor

import numpy as np

from models import artefacts
from models.text import SentenceOnnx


def test_like_sentences_lie_closer_than_unlike_ones(minilm):
    salon, barber, pipes = minilm(
        ["a hair salon", "the place where I get my hair cut", "a plumber mends a water pipe"]
    )
    assert salon @ barber > 0.5 > salon @ pipes + 0.2


def test_vectors_are_float32_and_of_length_one(minilm):
    vectors = minilm(["bakery", "", "a long evening at the restaurant by the sea"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, minilm.dimension) == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_vectors(minilm):
    assert minilm([]).shape == (0, 384)


def test_a_text_has_the_same_vector_whatever_it_is_encoded_with(minilm):
    texts = ["dentist", "a dentist who is open on Sundays " * 8, "", "florist", "DENTIST!!! " * 20]
    together = minilm(texts)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_array_equal(minilm([text])[0], vector)


def test_text_beyond_the_limit_is_cut_and_not_refused(minilm):
    long = "bread " * 1000
    np.testing.assert_allclose(minilm([long]), minilm([long + "and a motorcycle"]), atol=1e-6)


def test_threads_share_one_encoder(minilm):
    texts = [f"shop number {number}" for number in range(24)]
    expected = minilm(texts)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: minilm(texts), range(8)):
            np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_a_known_word_is_one_piece_and_an_unknown_one_several(minilm):
    assert minilm.pieces("restaurant") == 1
    assert minilm.pieces("phlebotomist") > 1


def test_a_folder_with_an_exported_encoder_serves_under_its_own_identity(minilm, weights):
    folder = artefacts.ensure(weights, "minilm")
    champion = SentenceOnnx(weights=weights, threads=2, folder=folder, identity="champion@7")
    assert champion.identity == "champion@7"
    np.testing.assert_allclose(champion(["bakery"]), minilm(["bakery"]), atol=1e-6)
