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


def test_tiles_of_x4plus_are_within_a_grey_level_of_the_whole_almost_everywhere(weights, coffee):
    photo = np.ascontiguousarray(coffee[150:230, 150:358])
    options = {"weights": weights, "threads": 2, "tiles_per_pass": 1}
    cut = models.create("enhancer", "x4plus", tile=128, **options)
    whole = models.create("enhancer", "x4plus", tile=512, **options)
    difference = np.abs(cut([photo], 4)[0].astype(int) - whole([photo], 4)[0].astype(int))
    assert (cut.forward_passes, whole.forward_passes) == (4, 1)
    assert (difference.max(axis=2) <= 1).mean() >= 0.999


def test_x4plus_anime_scaled_back_down_agrees_with_its_input(weights, cat):
    anime = models.create("enhancer", "x4plus_anime", weights=weights, threads=2)
    picture = cat[100:164, 100:196]
    (enlarged,) = anime([picture], 4)
    back = cv2.resize(enlarged, (96, 64), interpolation=cv2.INTER_AREA).astype(float)
    assert np.sqrt(np.mean((back - picture) ** 2)) < 16


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the measuring data is not here")
def test_x4plus_computes_what_its_authors_published(x4plus):
    given = cv2.imread(str(REFERENCE / "input_16x16.png"))[..., ::-1]
    published = cv2.imread(str(REFERENCE / "realesrgan_x4plus_64x64.png"))[..., ::-1]
    (enlarged,) = x4plus([np.ascontiguousarray(given)], 4)
    error = np.mean((enlarged.astype(float) - published.astype(float)) ** 2)
    assert 10 * np.log10(255**2 / error) > 50
