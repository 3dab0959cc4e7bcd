import math
from dataclasses import asdict, astuple
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

import models
from models.errors import UnsuitableInput
from models.quality import WEIGHTS, Quality, noise_sigma
from tests.measuring import DATA

PHOTOS = DATA / "photo_cases" / "photos"

assess = models.create("quality", "no_reference", weights=Path("/nowhere"), threads=1)


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), sigma)


def noisy(picture: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(7).normal(0, sigma, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["coffee", "chelsea", "astronaut"])
def test_the_more_blurred_the_lower_the_score(name):
    picture = getattr(skimage.data, name)()
    found = [assess(picture if sigma == 0 else blurred(picture, sigma)) for sigma in (0, 1, 3)]
    assert found[0].score > found[1].score > found[2].score
    assert found[0].parts["sharpness"] > found[2].parts["sharpness"]


@pytest.mark.parametrize("sigma", [5, 10, 20])
def test_added_noise_is_measured_in_grey_levels(coffee, sigma):
    grey = noisy(cv2.cvtColor(coffee, cv2.COLOR_RGB2GRAY), sigma)
    assert noise_sigma(grey) == pytest.approx(sigma, rel=0.25)


@pytest.mark.parametrize("size", [(3, 3), (16, 40), (34, 35), (50, 34), (96, 128), (333, 517)])
def test_noise_is_what_the_papers_mask_and_the_lower_quartile_of_blocks_give(coffee, size):
    grey = noisy(cv2.resize(cv2.cvtColor(coffee, cv2.COLOR_RGB2GRAY), size[::-1]), 6)
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    response = np.abs(cv2.filter2D(grey, cv2.CV_32F, mask))[1:-1, 1:-1]
    columns, rows = (max(1, (side - 2) // 16) for side in size[::-1])

    def blocks(values):
        return cv2.resize(values, (columns, rows), interpolation=cv2.INTER_AREA)

    brightness = blocks(grey[1:-1, 1:-1].astype(np.float32))
    usable = blocks(response)[(brightness > 8) & (brightness < 247)]
    assert usable.size
    expected = float(np.percentile(usable, 25)) * math.sqrt(math.pi / 2) / 6
    assert noise_sigma(grey) == expected


def test_noise_lowers_the_score(coffee):
    assert assess(noisy(coffee, 25)).parts["noise"] < assess(coffee).parts["noise"]


def test_dark_and_washed_out_pictures_are_worse_exposed(cat):
    good = assess(cat).parts["exposure"]
    assert assess(cat // 6).parts["exposure"] < good
    assert assess(255 - (255 - cat) // 6).parts["exposure"] < good


def test_grey_has_no_colour_and_a_flat_picture_no_contrast(cat):
    grey = cv2.cvtColor(cat, cv2.COLOR_RGB2GRAY)
    assert assess(grey).parts["colourfulness"] == 0 < assess(cat).parts["colourfulness"]
    assert assess(np.full((90, 90, 3), 90, dtype=np.uint8)).parts["contrast"] == 0


def test_more_pixels_are_better_until_the_target(cat):
    large = cv2.resize(cat, (1280, 720))
    larger = cv2.resize(cat, (1920, 1080))
    assert assess(cat).parts["resolution"] < assess(large).parts["resolution"] == 1
    assert assess(larger).parts["resolution"] == 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 900, 3), (17, 3, 3), (8, 8)])
def test_any_size_gives_finite_numbers_in_range(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = assess(picture)
    assert 0 <= found.score <= 100
    assert all(0 <= part <= 1 for part in found.parts.values())
    assert np.isfinite(astuple(found.measures)).all()
    assert set(flagged(picture)) <= {"blurred", "nearly_blank", "screenshot", "collage"}


def test_every_part_weighs_in_the_score_and_every_flag_is_known(coffee):
    found = assess(coffee)
    assert list(found.parts) == list(WEIGHTS)
    assert found.score == pytest.approx(
        100 * sum(WEIGHTS[name] * part for name, part in found.parts.items()), abs=0.01
    )
    assert None not in (*astuple(found.flags), *astuple(found.measures))


def test_what_a_backend_leaves_out_it_cannot_know():
    found = Quality(score=50.0)
    assert not found.parts
    assert {*astuple(found.flags), *astuple(found.measures)} == {None}


def test_what_is_not_an_image_is_refused():
    with pytest.raises(UnsuitableInput):
        assess(np.zeros((4, 4, 4), dtype=np.uint8))


def flagged(picture: np.ndarray) -> set[str]:
    return {name for name, answer in asdict(assess(picture).flags).items() if answer}


@pytest.mark.parametrize("name", ["coffee", "chelsea", "astronaut", "rocket", "page"])
def test_ordinary_photos_are_not_flagged(name):
    assert flagged(getattr(skimage.data, name)()) == set()


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the measuring data is not here")
def test_no_photo_of_the_labelled_set_is_flagged():
    read = {path.name: cv2.imread(str(path))[..., ::-1] for path in sorted(PHOTOS.glob("*.jpg"))}
    assert {name: flagged(picture) for name, picture in read.items() if flagged(picture)} == {}


def test_a_badly_focused_photo_is_blurred(coffee):
    assert flagged(blurred(coffee, 5)) == {"blurred"}


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_picture_is_nearly_blank_and_nothing_else(level):
    assert flagged(noisy(np.full((200, 300, 3), level, dtype=np.uint8), 1)) == {"nearly_blank"}


def test_a_window_of_a_program_is_a_screenshot(screenshot):
    assert flagged(screenshot) == {"screenshot"}
    _, jpeg = cv2.imencode(".jpg", screenshot, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert flagged(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) == {"screenshot"}


def test_a_product_on_white_is_no_screenshot(cat):
    shelf = np.full((900, 900, 3), 255, dtype=np.uint8)
    shelf[300:600, 200:651] = cat
    assert flagged(shelf) == set()


def two_photos(gutter: int) -> np.ndarray:
    sides = [cv2.resize(skimage.data.coffee(), (400, 500)), skimage.data.astronaut()[:500, :400]]
    bar = np.full((500, gutter, 3), 255, dtype=np.uint8)
    return np.hstack([sides[0], bar, sides[1]])


@pytest.mark.parametrize("quality_of_jpeg", [60, 90])
@pytest.mark.parametrize("gutter", [0, 10])
def test_two_photos_side_by_side_or_one_above_the_other_are_a_collage(gutter, quality_of_jpeg):
    side_by_side = two_photos(gutter)
    for picture in (side_by_side, side_by_side.transpose(1, 0, 2)):
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality_of_jpeg])
        assert flagged(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) == {"collage"}


def test_four_photos_in_a_large_grid_are_a_collage():
    above = cv2.resize(two_photos(12), None, fx=2, fy=2)
    assert flagged(np.vstack([above, np.full_like(above[:24], 255), above[:, ::-1]])) == {"collage"}


def test_a_frame_and_bars_beside_a_photo_make_no_collage(coffee):
    framed = cv2.copyMakeBorder(coffee, 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=(255,) * 3)
    between_bars = cv2.copyMakeBorder(coffee, 0, 0, 250, 250, cv2.BORDER_CONSTANT)
    assert flagged(framed) == flagged(between_bars) == set()
