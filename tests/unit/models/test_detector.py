from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import skimage.data

import models
from models.detector import PRESENT
from models.errors import UnsuitableInput
from tests.measuring import DATA

PHOTOS = DATA / "photo_cases" / "photos"

WITH_PEOPLE = {
    "balance_beam",
    "barbell",
    "crutch",
    "dumbbell",
    "flute",
    "groom",
    "hair_spray",
    "jigsaw_puzzle",
    "lab_coat",
    "laptop",
    "mountain_bike",
    "parallel_bars",
    "wig",
}
# Only hands or legs, or people on a screen: either answer is right.
NEITHER = {"acoustic_guitar", "desk", "desktop_computer", "hamster", "running_shoe", "sandal"} | {
    "syringe",
    "trifle",
}


@pytest.fixture(scope="module")
def detector(weights):
    return models.create("detector", "ssdlite", weights=weights, threads=2)


def in_colour(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def test_a_portrait_a_face_alone_and_a_man_from_the_side_are_people(detector):
    portrait = skimage.data.astronaut()
    assert detector(portrait) > PRESENT
    assert detector(portrait[40:200, 150:300]) > PRESENT
    assert detector(in_colour(skimage.data.camera())) > PRESENT


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "brick", "page", "coins"])
def test_things_and_animals_are_not_people(detector, name):
    picture = getattr(skimage.data, name)()
    assert detector(in_colour(picture) if picture.ndim == 2 else picture) < PRESENT / 2


@pytest.mark.parametrize("size", [(3, 900), (1, 1), (2400, 1600)])
def test_any_size_gives_a_probability(detector, size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert 0 <= detector(picture) <= 1


def test_threads_may_look_at_once(detector):
    portrait, coffee = skimage.data.astronaut(), skimage.data.coffee()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detector, [portrait, coffee] * 4))
    assert found == [detector(portrait), detector(coffee)] * 4


def test_a_picture_of_another_kind_is_refused(detector):
    with pytest.raises(UnsuitableInput):
        detector(skimage.data.camera())


def test_who_does_not_look_does_not_know(tmp_path):
    nobody = models.create("detector", "none", weights=tmp_path, threads=1)
    assert nobody(skimage.data.astronaut()) is None


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the measuring data is not here")
def test_on_labelled_photos_few_people_are_missed_and_none_made_up(detector):
    found = {
        path.stem
        for path in PHOTOS.glob("*.jpg")
        if detector(cv2.imread(str(path))[..., ::-1]) >= PRESENT
    }
    assert len(found & WITH_PEOPLE) >= 11
    assert found - WITH_PEOPLE - NEITHER == set()
