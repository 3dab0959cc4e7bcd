import cv2
import numpy as np
import pytest

import models
from tests.measuring import DATA

REFERENCE = DATA / "sr_reference"


@pytest.fixture(scope="module")
def x4plus(weights):
    return models.create("enhancer", "x4plus", weights=weights, threads=2)


def test_x4plus_scaled_back_down_agrees_with_its_input(x4plus, cat):
    picture = cat[100:124, 100:132]
    (enlarged,) = x4plus([picture], 4)
    assert enlarged.shape == (96, 128, 3)
    back = cv2.resize(enlarged, (32, 24), interpolation=cv2.INTER_AREA).astype(float)
    assert np.sqrt(np.mean((back - picture) ** 2)) < 16


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the measuring data is not here")
def test_x4plus_computes_what_its_authors_published(x4plus):
    given = cv2.imread(str(REFERENCE / "input_16x16.png"))[..., ::-1]
    published = cv2.imread(str(REFERENCE / "realesrgan_x4plus_64x64.png"))[..., ::-1]
    (enlarged,) = x4plus([np.ascontiguousarray(given)], 4)
    error = np.mean((enlarged.astype(float) - published.astype(float)) ** 2)
    assert 10 * np.log10(255**2 / error) > 50
