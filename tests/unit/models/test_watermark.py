import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageDraw, ImageFont

import models
from models.reader import ReadText, TextLine
from models.watermark import MARKED, watermark
from tests.measuring import DATA

PHOTOS = DATA / "photo_cases" / "photos"


@pytest.fixture(scope="module")
def reader(weights):
    return models.create("reader", "rapidocr", weights=weights, threads=2)


def marked(photo: np.ndarray, text: str, size: int, at: tuple[float, float]) -> np.ndarray:
    """The photo under a half-transparent white text that begins at a share of width and height."""
    layer = Image.new("RGBA", (photo.shape[1], photo.shape[0]))
    place = (at[0] * photo.shape[1], at[1] * photo.shape[0])
    font = ImageFont.load_default(size)
    ImageDraw.Draw(layer).text(place, text, font=font, fill=(255, 255, 255, 140))
    return over(photo, layer)


def tiled(photo: np.ndarray, text: str, size: int) -> np.ndarray:
    """The photo under a text repeated all over it at 30 degrees."""
    height, width = photo.shape[:2]
    layer = Image.new("RGBA", (3 * width, 3 * height))
    draw, font = ImageDraw.Draw(layer), ImageFont.load_default(size)
    for top in range(0, 3 * height, 4 * size):
        for left in range(0, 3 * width, 8 * size):
            draw.text((left, top), text, font=font, fill=(255, 255, 255, 120))
    turned = layer.rotate(30).crop((width, height, 2 * width, 2 * height))
    return over(photo, turned)


def over(photo: np.ndarray, layer: Image.Image) -> np.ndarray:
    below = Image.fromarray(photo).convert("RGBA")
    return np.asarray(Image.alpha_composite(below, layer).convert("RGB"))


def line(text: str, **place: float) -> ReadText:
    return ReadText((TextLine(text, 0.9, **{"area": 0.02, **place}),))


@pytest.mark.parametrize("photo", ["coffee", "chelsea", "rocket"])
def test_a_name_repeated_aslant_over_the_photo_is_a_watermark(reader, photo):
    picture = getattr(skimage.data, photo)()
    assert watermark(reader(picture)) == 0
    assert watermark(reader(tiled(picture, "Studio Lux", 30))) >= MARKED


@pytest.mark.parametrize(
    ("text", "size", "at"),
    [("shutterstock", 60, (0.1, 0.45)), ("www.studiolux.com", 22, (0.5, 0.92))],
)
def test_the_name_of_a_picture_library_and_a_credit_at_the_edge_are_watermarks(
    reader, coffee, text, size, at
):
    assert watermark(reader(marked(coffee, text, size, at))) >= MARKED


@pytest.mark.parametrize(
    "text", ["© Studio Lux", "Copyright 2024", "(c) 2019 A. Bee", "ALAMY", "gettyimages"]
)
def test_claims_and_libraries_count_wherever_they_stand(text):
    assert watermark(line(text, height=0.5)) == 0.9


def test_a_shops_address_counts_only_as_a_small_line_at_the_edge():
    address = "www.roma-pizza.com"
    assert watermark(line(address, height=0.97)) == 0.9
    assert watermark(line(address, height=0.5)) == 0
    assert watermark(line(address, height=0.97, area=0.1)) == 0


def test_a_word_such_as_sample_counts_only_aslant():
    assert watermark(line("SAMPLE", slope=-32.0)) == 0.9
    assert watermark(line("SAMPLE SALE", slope=2.0)) == 0


def test_level_repetitions_are_what_shelves_hold():
    shelf = tuple(TextLine("CRUNCH", 0.9, 0.01, slope=1.0) for _ in range(6))
    assert watermark(ReadText(shelf)) == 0


def test_lines_aslant_that_differ_or_are_not_parallel_are_no_watermark():
    words = (TextLine("NIVEA", 0.9, 0.1, slope=-26.0), TextLine("Creme", 0.9, 0.05, slope=-22.0))
    crossed = (TextLine("NIVEA", 0.9, 0.1, slope=-26.0), TextLine("NIVEA", 0.9, 0.1, slope=26.0))
    assert watermark(ReadText(words)) == watermark(ReadText(crossed)) == 0


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the measuring data is not here")
def test_no_photo_of_the_labelled_set_is_taken_for_marked(reader):
    read = {
        path.name: reader(np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]))
        for path in sorted(PHOTOS.glob("*.jpg"))
    }
    assert {name for name, text in read.items() if watermark(text) >= MARKED} == set()
