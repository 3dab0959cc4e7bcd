import json
import math

import numpy as np
import pytest

from models import artefacts
from models.errors import UnsuitableInput
from models.image_text import Label, class_vectors

NAMES = ["Coffee Shops", "Pet Shops", "Car Repair", "Dentists", "Florists"]


def ranking(conse, embedding):
    cosines = conse.encode_names(NAMES) @ conse.among_texts(embedding.vector)
    return [NAMES[index] for index in np.argsort(-cosines)]


def test_a_cup_of_coffee_is_ranked_as_a_coffee_shop(conse, coffee):
    (embedding,) = conse([coffee])
    assert ranking(conse, embedding)[0] == "Coffee Shops"


def test_a_cat_is_ranked_as_a_pet_shop(conse, cat):
    (embedding,) = conse([cat])
    assert ranking(conse, embedding)[0] == "Pet Shops"
    assert "cat" in embedding.labels[0].name


def test_labels_are_ten_probabilities_in_descending_order(conse, cat):
    labels = conse([cat])[0].labels
    probabilities = [label.probability for label in labels]
    assert len(labels) == 10
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1 + 1e-6


def test_stored_labels_make_the_vector_of_the_picture(conse, coffee):
    (embedding,) = conse([coffee])
    np.testing.assert_allclose(
        conse.vector_from_labels(embedding.labels), embedding.vector, atol=1e-6
    )
    assert np.linalg.norm(embedding.vector) == pytest.approx(1, abs=1e-5)


def test_a_picture_weighs_the_classes_by_their_probabilities(conse, coffee):
    (embedding,) = conse([coffee])
    names = conse.load().names
    weights = embedding.vector / embedding.vector.sum()
    probabilities = np.array([label.probability for label in embedding.labels])
    of_labels = [weights[names.index(label.name)] for label in embedding.labels]
    np.testing.assert_allclose(of_labels, probabilities / probabilities.sum(), rtol=1e-4)
    assert np.count_nonzero(embedding.vector) == len(embedding.labels)


def test_labels_without_any_probability_make_no_vector(conse):
    with pytest.raises(UnsuitableInput, match="make no vector"):
        conse.vector_from_labels([])


def test_among_texts_a_picture_of_one_class_is_that_class(conse):
    name = conse.load().names[7]
    picture = conse.vector_from_labels([Label(name, 0.4)])
    np.testing.assert_allclose(conse.among_texts(picture), conse.classes()[7], atol=1e-6)


def test_a_name_is_the_mean_of_what_the_templates_make_of_it(conse):
    (found,) = conse.encode_names(["Pet Shops"])
    prompts = [template.format("Pet Shops") for template in conse.templates]
    mean = conse.encode_texts(prompts).mean(axis=0)
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-6)
    assert conse.encode_names([]).shape == (0, 384)


def test_pictures_of_mixed_sizes_in_a_batch_are_embedded_as_if_alone(conse, coffee, cat):
    pictures = [coffee, cat, cat[:40, :300], coffee[::3, ::3], cat[:1, :1]] * 2
    for picture, together in zip(pictures, conse(pictures), strict=True):
        np.testing.assert_allclose(conse([picture])[0].vector, together.vector, atol=1e-4)


def test_a_label_that_is_no_class_is_refused(conse):
    with pytest.raises(UnsuitableInput, match="no class 'unicorn'"):
        conse.vector_from_labels([Label("unicorn", 1.0)])


def test_a_picture_with_alpha_or_floats_is_refused(conse, cat):
    for wrong in (cat[..., :2], cat.astype(np.float32), cat[..., 0]):
        with pytest.raises(UnsuitableInput):
            conse([wrong])


def test_every_class_has_a_name_of_its_own(conse):
    names = conse.load().names
    assert len(set(names)) == len(names) == 1000


def test_background_names_are_single_names(conse):
    names = conse.background_names()
    assert len(names) > 990
    assert not any("," in name for name in names)


def test_class_vectors_of_another_text_encoder_are_made_beside_the_first(conse, tmp_path):
    class Other:
        identity = "champion/7@2"
        calls = 0

        def __call__(self, texts):
            self.calls += 1
            return np.ones((len(texts), 5), dtype=np.float32)

    one = {"name": "cup", "definition": "a vessel", "neighbours": [0]}
    (tmp_path / "classes.json").write_text(json.dumps([one]))
    other = Other()
    for _ in range(2):
        assert class_vectors(tmp_path, other).shape == (1, 5)
    assert other.calls == 1


def test_a_class_means_half_what_its_words_say_and_half_what_its_neighbours_do(tmp_path):
    class Axes:
        identity = "axes@1"

        def __call__(self, texts):
            names = [text.partition(":")[0] for text in texts]
            return np.eye(3, dtype=np.float32)[[["cup", "mug", "saw"].index(n) for n in names]]

    neighbours = {"cup": [1], "mug": [0], "saw": [0]}
    classes = [
        {"name": name, "definition": "a thing", "neighbours": near}
        for name, near in neighbours.items()
    ]
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    cup, mug, saw = class_vectors(tmp_path, Axes())
    assert cup == pytest.approx([math.sqrt(0.5), math.sqrt(0.5), 0], abs=1e-6)
    assert cup == pytest.approx(mug)
    assert saw == pytest.approx([math.sqrt(0.5), 0, math.sqrt(0.5)], abs=1e-6)


def test_the_classifier_sees_cups_near_mugs_and_violins_near_cellos(conse, weights):
    folder = artefacts.ensure(weights, "efficientnet-lite0")
    classes = json.loads((folder / "classes.json").read_text())
    near = {
        item["name"]: [classes[index]["name"] for index in item["neighbours"]] for item in classes
    }
    assert "coffee mug" in near["cup"]
    assert "cello, violoncello" in near["violin, fiddle"]
    assert not any(name in neighbours for name, neighbours in near.items())


def test_the_space_names_the_text_encoder(conse, minilm):
    assert minilm.identity in conse.space
    assert conse.identity in conse.space
