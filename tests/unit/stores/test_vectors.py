"""What every vector store does."""

import numpy as np
import pytest

from tests.unit.stores.conftest import Opener
from tests.unit.stores.processes import run_side_by_side

SIZE = 16


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=SIZE)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def test_texts_are_read_back_and_unknown_ones_left_out(vectors):
    vectors.save_texts("m", {"sushi bar": unit(1), "寿司": unit(2)})
    vectors.save_texts("m", {})
    found = vectors.texts("m", ["寿司", "sushi bar", "none"])
    assert set(found) == {"sushi bar", "寿司"}
    np.testing.assert_array_equal(found["sushi bar"], unit(1))
    assert found["寿司"].dtype == np.float32
    found["寿司"] *= 2
    assert vectors.texts("m", []) == {}


def test_a_text_saved_again_is_replaced(vectors):
    vectors.save_texts("m", {"a": unit(1)})
    vectors.save_texts("m", {"a": unit(2)})
    np.testing.assert_array_equal(vectors.texts("m", ["a"])["a"], unit(2))


def test_vectors_of_different_models_and_kinds_are_never_mixed(vectors):
    vectors.save_texts("m1", {"a": unit(1)})
    vectors.save_image("m1", "picture", "B1", 7, unit(1))
    vectors.save_image("m1", "description", "B1", 7, unit(2))
    vectors.save_image("m2", "picture", "B1", 7, unit(3)[:8])
    assert vectors.texts("m2", ["a"]) == {}
    assert vectors.images("m2", "description", ["B1"]) == {}
    np.testing.assert_array_equal(vectors.images("m1", "picture", ["B1"])["B1", 7], unit(1))
    assert len(vectors.search_images("m1", "picture", unit(1), 10)) == 1


def test_a_model_goes_with_all_of_its_vectors_and_no_others(vectors, monkeypatch):
    monkeypatch.setattr("pipeline.stores.vectors_sqlite.DROPPED_AT_ONCE", 2)
    for model in ("m1", "m2"):
        vectors.save_texts(model, {text: unit(1) for text in "abc"})
        for number in range(3):
            vectors.save_image(model, "picture", "B1", number, unit(number))
        vectors.save_image(model, "description", "B1", 1, unit(2))
    for _ in range(2):
        vectors.drop_model("m1")
    assert vectors.texts("m1", ["a"]) == {}
    for kind, count in (("picture", 3), ("description", 1)):
        assert vectors.images("m1", kind, ["B1"]) == {}
        assert len(vectors.images("m2", kind, ["B1"])) == count
    vectors.save_texts("m1", {"a": unit(3)})
    assert set(vectors.texts("m1", ["a", "b"])) == {"a"}


def test_images_of_businesses_are_read_at_once(vectors):
    for number, (docid, product_id) in enumerate([("B1", 1), ("B1", 2), ("B2", 1), ("B3", 1)]):
        vectors.save_image("m", "picture", docid, product_id, unit(number))
    vectors.save_image("m", "picture", "B1", 2, unit(9))
    found = vectors.images("m", "picture", ["B1", "B3", "none"])
    assert set(found) == {("B1", 1), ("B1", 2), ("B3", 1)}
    np.testing.assert_array_equal(found["B1", 2], unit(9))


def test_single_images_are_read_without_the_others_of_their_business(vectors):
    for number, (docid, product_id) in enumerate([("B1", 1), ("B1", 2), ("B2", 1)]):
        vectors.save_image("m", "picture", docid, product_id, unit(number))
    vectors.save_image("m", "description", "B1", 1, unit(9))
    found = vectors.images_of("m", "picture", [("B1", 2), ("B2", 1), ("B2", 2)])
    assert set(found) == {("B1", 2), ("B2", 1)}
    np.testing.assert_array_equal(found["B1", 2], unit(1))
    assert vectors.images_of("m", "picture", []) == {}
    assert vectors.images_of("other", "picture", [("B1", 2)]) == {}


def test_a_search_gives_the_nearest_first_with_their_cosines(vectors):
    stored = {("B1", number): unit(number) for number in range(1, 40)}
    for (docid, product_id), vector in stored.items():
        vectors.save_image("m", "description", docid, product_id, vector)
    query = unit(100)
    expected = sorted(((float(vector @ query), key) for key, vector in stored.items()))[::-1][:5]
    found = vectors.search_images("m", "description", 3 * query, 5)
    assert [(docid, product_id) for docid, product_id, _ in found] == [key for _, key in expected]
    np.testing.assert_allclose([one[2] for one in found], [one for one, _ in expected], atol=1e-6)
    assert len(vectors.search_images("m", "description", query, 100)) == 39
    assert vectors.search_images("none", "description", query, 5) == []


def test_a_deleted_image_has_no_vector_under_any_model(vectors):
    for model, kind in [("m1", "picture"), ("m1", "description"), ("m2", "picture")]:
        vectors.save_image(model, kind, "B1", 7, unit(1))
        vectors.save_image(model, kind, "B1", 8, unit(1))
    vectors.delete_image("B1", 7)
    for model, kind in [("m1", "picture"), ("m1", "description"), ("m2", "picture")]:
        assert list(vectors.images(model, kind, ["B1"])) == [("B1", 8)]


def test_images_are_known_by_their_keys_whatever_the_model(vectors):
    for model, kind, product_id in [
        ("m1", "picture", 1),
        ("m2", "picture", 2),
        ("m1", "description", 3),
    ]:
        vectors.save_image(model, kind, "B1", product_id, unit(1))
    asked = [("B1", number) for number in range(1, 5)] + [("B2", 1)]
    assert vectors.known_images("picture", asked) == {("B1", 1), ("B1", 2)}
    assert vectors.known_images("description", asked) == {("B1", 3)}
    assert vectors.known_images("picture", []) == set()


def test_every_image_with_a_vector_comes_whatever_the_size_of_a_page(vectors, monkeypatch):
    monkeypatch.setattr("pipeline.stores.database.PAGE", 2)
    monkeypatch.setattr("pipeline.stores.vectors_milvus.ROWS_READ", 2)
    assert list(vectors.every_image()) == []
    keys = {("B1", number) for number in range(1, 6)} | {("B2", 1)}
    for key in keys:
        vectors.save_image("m1", "picture", *key, unit(1))
    vectors.save_image("m2", "description", "B2", 1, unit(1))
    assert set(vectors.every_image()) == keys


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(SIZE),
        np.full(SIZE, np.nan),
        np.full(SIZE, np.inf),
        np.full(SIZE, 1e300),
        np.full(SIZE, 1e-300),
        np.ones((2, SIZE)),
        np.ones(0),
    ],
)
def test_a_vector_without_a_direction_is_refused(vectors, vector):
    with pytest.raises(ValueError):
        vectors.save_texts("m", {"good": unit(1), "bad": vector})
    with pytest.raises(ValueError):
        vectors.save_image("m", "picture", "B1", 7, vector)
    with pytest.raises(ValueError):
        vectors.search_images("m", "picture", vector, 5)
    assert vectors.texts("m", ["good"]) == {}


def test_a_query_of_another_length_is_refused(vectors):
    vectors.save_image("m", "picture", "B1", 7, unit(1))
    with pytest.raises(ValueError):
        vectors.search_images("m", "picture", unit(1)[:8], 5)


def test_processes_that_save_at_once_lose_nothing(open_vectors):
    run_side_by_side(save_many, [(open_vectors, 0), (open_vectors, 1)])
    vectors = open_vectors()
    assert len(vectors.images("m", "picture", ["B1"])) == 80
    assert len(vectors.texts("m", [str(number) for number in range(80)])) == 80
    vectors.check()
    vectors.close()


def save_many(open_vectors: Opener, half: int) -> None:
    vectors = open_vectors()
    for number in range(40 * half, 40 * half + 40):
        vectors.save_image("m", "picture", "B1", number + 1, unit(number))
        vectors.save_texts("m", {str(number): unit(number), "shared": unit(0)})
