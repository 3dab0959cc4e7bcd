"""Smaller versions of every kind of file."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFile

from pipeline.errors import UndecodableImage
from pipeline.imaging import Photo, decode, fit_width

LIMIT = 50_000_000


def halves(mode: str = "RGB") -> Image.Image:
    """400 x 300, its left half red and its right half blue, or as near as a mode comes to it."""
    image = Image.new("RGB", (400, 300), (220, 30, 30))
    image.paste((30, 30, 220), (200, 0, 400, 300))
    return image.convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "JPEG"),
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("1", "PNG"),
        ("LA", "PNG"),
        ("I;16", "PNG"),
        ("RGB", "WEBP"),
    ],
)
def test_a_smaller_version_looks_like_the_whole(mode: str, kind: str) -> None:
    content = saved(halves(mode) if mode != "I;16" else halves("L").convert("I;16"), kind)
    small = Photo(content, LIMIT).shrink(160)
    assert (small.width, small.height) == (160, 120)
    whole = np.asarray(Image.fromarray(decode(content, LIMIT).rgb).resize((160, 120)))
    assert np.abs(small.rgb.astype(int) - whole.astype(int)).mean() < 6


def test_nothing_is_enlarged() -> None:
    small = Photo(saved(halves(), "PNG"), LIMIT).shrink(640)
    assert (small.width, small.height) == (400, 300)


def test_a_photo_that_lies_on_its_side_is_as_wide_as_asked_for_when_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    small = Photo(saved(halves(), "JPEG", exif=exif), LIMIT).shrink(160)
    assert (small.width, small.height) == (160, 213)
    # The left half, red, has become the upper one.
    assert small.rgb[20, 80, 0] > 180
    assert small.rgb[190, 80, 2] > 180


def test_transparency_is_kept() -> None:
    image = halves("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    alpha = Photo(saved(image, "PNG"), LIMIT).shrink(160).alpha
    assert alpha is not None
    assert alpha.shape == (120, 160)
    assert alpha[0, 0] < 10 < 245 < alpha[-1, 0]


def test_a_large_jpeg_is_never_decompressed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(halves().resize((4000, 3000)), "JPEG")
    sizes = []
    load = ImageFile.ImageFile.load

    def loaded(image: ImageFile.ImageFile) -> object:
        sizes.append(image.size)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", loaded)
    assert Photo(content, LIMIT).shrink(160).width == 160
    assert max(sizes) == (500, 375)


@pytest.mark.parametrize("content", [b"", b"no picture", saved(halves(), "JPEG")[:1000]])
def test_what_is_no_photo_is_refused(content: bytes) -> None:
    with pytest.raises(UndecodableImage):
        Photo(content, LIMIT).shrink(160)


def test_a_photo_above_the_limit_is_refused() -> None:
    with pytest.raises(UndecodableImage, match="megapixels"):
        Photo(saved(halves(), "JPEG"), 100_000)


@pytest.mark.parametrize(
    ("size", "most", "fits"),
    [
        ((400, 300), 200, (200, 150)),
        ((400, 300), 400, (400, 300)),
        ((3000, 16), 160, (160, 1)),
        ((20, 40_000), 160, (8, 16383)),
    ],
)
def test_a_size_keeps_its_shape(size: tuple[int, int], most: int, fits: tuple[int, int]) -> None:
    assert fit_width(*size, most) == fits
