"""What stages have left for those after them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.messages import ImageMessage
from pipeline.records import CatalogueImage
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores
from tasks.describe import description_vector
from tasks.stage import Run
from tasks.tag import picture_vector

KEY = ("shop", 7)
OLDER = np.array([1.0, 0.0], np.float32)


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """A photo that took the place of another one, whose vectors are still there."""
    stores = open_stores(Settings(data_dir=tmp_path))
    stores.documents.accept_image(CatalogueImage(docid="shop", product_id=7, sha256="a"))
    stores.vectors.save_image("model", "picture", *KEY, OLDER)
    stores.vectors.save_image("model", "description", *KEY, OLDER)
    return stores


def run(stores: Stores) -> Run:
    image = stores.documents.image(*KEY)
    assert image is not None
    model = SimpleNamespace(space="model", identity="model")
    here: Any = SimpleNamespace(stores=stores, model=lambda kind: model)
    message = ImageMessage(docid="shop", product_id=7, generation=1)
    return Run(message, image, stores.documents.metadata([KEY]).get(KEY), here)


def test_vectors_of_an_older_photo_are_not_taken_for_those_of_stages_that_have_failed(
    stores: Stores,
) -> None:
    assert picture_vector(run(stores)) is None
    assert description_vector(run(stores)) is None
    stores.documents.patch_metadata(*KEY, 1, {"models.image_tag_process": "model"})
    assert np.array_equal(picture_vector(run(stores)), OLDER)
    assert description_vector(run(stores)) is None
    stores.documents.patch_metadata(*KEY, 1, {"description": "a cup"})
    assert np.array_equal(description_vector(run(stores)), OLDER)
