"""Every kind of file that people upload."""

import gc
import io
import struct
import weakref
import zlib

import imagehash
import numpy as np
import pytest
from PIL import Image

from pipeline.errors import UndecodableImage
from pipeline.imaging import (
    BAND,
    JPEG_QUALITY,
    Photo,
    Picture,
    content_type,
    decode,
    encode,
    fit,
    perceptual_hash,
    resize,
)
from tests.pictures import encoded, plain

LIMIT = 50_000_000
RED, BLUE = (255, 0, 0), (0, 0, 255)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """One bit a pixel, and pixel data that nobody can decompress."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"?") + chunk(b"IEND", b"")
    )


def middle(picture: Picture) -> tuple[int, ...]:
    return tuple(int(value) for value in picture.rgb[picture.height // 2, picture.width // 2])


def near(colour: tuple[int, ...], wanted: tuple[int, ...], by: int = 8) -> bool:
    return max(abs(int(a) - b) for a, b in zip(colour, wanted, strict=True)) <= by


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_pixels_come_out_as_they_went_in(kind: str) -> None:
    image = plain((10, 120, 230))
    picture = decode(encoded(image, kind), LIMIT)
    assert np.array_equal(picture.rgb, image)
    assert (picture.alpha, picture.gray) == (None, False)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_kinds_keep_the_colour(kind: str) -> None:
    picture = decode(encoded(plain((10, 120, 230)), kind), LIMIT)
    assert (picture.width, picture.height) == (64, 48)
    assert near(middle(picture), (10, 120, 230))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"this is no picture", "not an image of the kinds"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image of the kinds"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "not an image of the kinds"),
        (b"\x89PNG\r\n\x1a\n", "not an image|damaged"),
        (encoded(plain(width=1, height=1)), "1x1 is too small"),
        (encoded(plain(width=400, height=15)), "400x15 is too small"),
    ],
)
def test_what_is_no_photo_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UndecodableImage, match=reason):
        decode(content, LIMIT)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_truncated_file_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    whole = encoded(noise, kind)
    with pytest.raises(UndecodableImage):
        decode(whole[: len(whole) // 2], LIMIT)


def test_the_smallest_photo_is_decoded() -> None:
    assert decode(encoded(plain(width=16, height=16)), LIMIT).width == 16


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, BLUE)]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    assert middle(decode(content, LIMIT)) == RED


def test_cmyk_becomes_rgb() -> None:
    content = saved(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", quality=95)
    picture = decode(content, LIMIT)
    assert near(middle(picture), RED)
    assert not picture.gray


@pytest.mark.parametrize("level", range(0, 256, 5))
def test_sixteen_bits_keep_their_upper_eight(level: int) -> None:
    values = np.full((32, 32), level * 257, dtype=np.uint16)
    picture = decode(saved(Image.fromarray(values), "PNG"), LIMIT)
    assert middle(picture) == (level,) * 3
    assert picture.gray


def test_a_photo_from_a_turned_camera_stands_upright() -> None:
    image = plain(BLUE, width=64, height=32)
    image[:, :32] = RED
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture = decode(encoded(image, "JPEG", exif=exif, quality=95), LIMIT)
    assert (picture.width, picture.height) == (32, 64)
    assert near(tuple(picture.rgb[8, 16]), RED)
    assert near(tuple(picture.rgb[56, 16]), BLUE)


def test_a_transparent_palette_colour_becomes_alpha() -> None:
    image = Image.new("P", (32, 32), 1)
    image.putpalette([0, 255, 0, 255, 0, 0])
    image.paste(0, (0, 0, 16, 32))
    picture = decode(saved(image, "PNG", transparency=0), LIMIT)
    assert picture.alpha is not None
    assert (picture.alpha[16, 4], picture.alpha[16, 28]) == (0, 255)
    assert tuple(picture.rgb[16, 28]) == RED
    assert tuple(picture.on_white()[16, 4]) == (255, 255, 255)


def test_alpha_that_hides_nothing_is_none() -> None:
    assert decode(saved(Image.new("RGBA", (32, 32), (*RED, 255)), "PNG"), LIMIT).alpha is None


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_a_file_without_colour_says_so(mode: str) -> None:
    picture = decode(saved(Image.new(mode, (32, 32)), "PNG"), LIMIT)
    assert picture.gray
    assert picture.rgb.shape == (32, 32, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [7_072, 10_000, 20_000, 60_000])
def test_a_file_of_too_many_pixels_is_refused_without_being_decompressed(side: int) -> None:
    with pytest.raises(UndecodableImage, match="megapixels"):
        decode(png_that_claims(side, side), LIMIT)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_small_file_that_unpacks_to_400_megapixels_is_refused() -> None:
    content = saved(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(content) < 200_000
    with pytest.raises(UndecodableImage, match="megapixels"):
        decode(content, LIMIT)


def test_a_broken_colour_profile_is_ignored() -> None:
    content = encoded(plain(RED), "PNG", icc_profile=b"this is no profile")
    assert middle(decode(content, LIMIT)) == RED


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_the_first_bytes_tell_the_kind(kind: str) -> None:
    assert content_type(encoded(plain(), kind)) == f"image/{kind.lower()}"


def test_anything_else_is_a_stream_of_bytes() -> None:
    assert content_type(b"RIFFxxxxWAVE") == content_type(b"") == "application/octet-stream"


def test_a_colour_photo_is_written_as_jpeg() -> None:
    content, kind = encode(Picture(plain(RED)))
    assert kind == content_type(content) == "image/jpeg"
    assert near(middle(decode(content, LIMIT)), RED)


def test_a_photo_without_colour_is_written_without_colour() -> None:
    content, _ = encode(Picture(plain((90, 90, 90)), None, gray=True))
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "L"
    assert decode(content, LIMIT).gray


def test_transparency_is_written_as_webp_and_comes_back() -> None:
    alpha = np.full((48, 64), 255, dtype=np.uint8)
    alpha[:, :32] = 0
    content, kind = encode(Picture(plain(RED), alpha))
    assert kind == content_type(content) == "image/webp"
    back = decode(content, LIMIT).alpha
    assert back is not None
    assert np.array_equal(back, alpha)


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((640, 360), (1280, 720)),
        ((640, 480), (960, 720)),
        ((480, 640), (720, 960)),
        ((2560, 1440), (1280, 720)),
        ((500, 500), (720, 720)),
        ((10_000, 1), (1280, 1)),
        ((333, 111), (1280, 426)),
    ],
)
def test_fit_fills_the_box_that_turns_with_the_photo(
    size: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert fit(*size, 1280, 720) == fitted


def test_resizing_to_the_same_size_changes_nothing() -> None:
    image = plain()
    assert resize(image, 64, 48) is image
    assert resize(image, 32, 24).shape == (24, 32, 3)
    assert resize(image[..., 0], 32, 24).shape == (24, 32)


def test_looks_survive_a_change_of_size() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    small, large = resize(noise, 128, 128), resize(noise, 512, 512)

    def bits(image: np.ndarray) -> int:
        return int(perceptual_hash(image), 16)

    assert (bits(small) ^ bits(large)).bit_count() <= 4
    assert (bits(small) ^ bits(small[::-1])).bit_count() > 10


@pytest.mark.parametrize("height", [16, BAND - 1, BAND, BAND + 1, 2 * BAND + 40])
def test_the_hash_is_that_of_the_whole_picture(height: int) -> None:
    noise = np.random.default_rng(height).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    image = resize(noise, 90, height)
    assert perceptual_hash(image) == str(imagehash.phash(Image.fromarray(image)))


def by_pillow(image: Image.Image) -> bytes:
    return saved(image, "JPEG", quality=JPEG_QUALITY, optimize=True, progressive=True)


def test_a_jpeg_is_the_one_that_pillow_makes() -> None:
    image = resize(np.random.default_rng(2).integers(0, 256, (9, 7, 3), dtype=np.uint8), 300, 201)
    assert encode(Picture(image)) == (by_pillow(Image.fromarray(image)), "image/jpeg")


def test_a_grey_photo_has_one_channel() -> None:
    gray = resize(np.random.default_rng(3).integers(0, 256, (9, 7), dtype=np.uint8), 90, 60)
    content, _ = encode(Picture(np.dstack([gray] * 3), gray=True))
    assert content == by_pillow(Image.fromarray(gray))


def test_a_side_that_no_jpeg_has_is_refused() -> None:
    with pytest.raises(ValueError, match="70000x1"):
        encode(Picture(np.zeros((1, 70_000, 3), dtype=np.uint8)))


def test_a_decoded_photo_keeps_no_pixels_beside_those_it_gave() -> None:
    photo = Photo(encoded(plain(width=40, height=30)), LIMIT)
    assert photo.pixels == 1200
    image = weakref.ref(photo._image)
    picture = photo.decode()
    gc.collect()
    assert image() is None
    assert (picture.width, picture.height) == (40, 30)
