"""JPEGs with an end, and less before it than their header promises."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.cut_off import ROWS
from pipeline.errors import UndecodableImage
from pipeline.imaging import decode

WIDTH, HEIGHT = 320, 240
END = b"\xff\xd9"
LIMIT = 10_000_000

KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "no subsampling": {"subsampling": 0},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "gray": {"mode": "L"},
    "cmyk": {"mode": "CMYK"},
}


def photo(gray_rows: int = 0) -> np.ndarray:
    """Waves, and rows of middle gray below them."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = 128 + 100 * np.sin(x / 9) * np.cos(y / 7)
    noise = np.random.default_rng(5).normal(0, 8, (HEIGHT, WIDTH, 3))
    pixels = np.clip(waves[..., None] + noise, 0, 255).astype(np.uint8)
    pixels[HEIGHT - gray_rows :] = 128
    return pixels


def jpeg(pixels: np.ndarray, mode: str = "RGB", **options: Any) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(target, "JPEG", **options)
    return target.getvalue()


def scan(content: bytes) -> int:
    """Where what is coded begins."""
    at = content.index(b"\xff\xda")
    return at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")


def cut(content: bytes, share: float) -> bytes:
    """With the first part of what is coded, and an end."""
    begin = scan(content)
    return content[: begin + int((len(content) - begin) * share)] + END


def with_height(content: bytes, height: int) -> bytes:
    """With another height in the header."""
    at = next(content.find(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in content)
    return content[: at + 5] + height.to_bytes(2, "big") + content[at + 7 :]


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_a_jpeg_with_a_part_of_its_picture_is_damaged(options: dict[str, Any]) -> None:
    # The first scan of a progressive file has all of the picture, if coarsely.
    share = 0.05 if options.get("progressive") else 0.5
    with pytest.raises(UndecodableImage, match="ends before"):
        decode(cut(jpeg(photo(), **options), share), LIMIT)


def test_a_jpeg_that_claims_to_be_higher_is_damaged() -> None:
    with pytest.raises(UndecodableImage, match="ends before"):
        decode(with_height(jpeg(photo()), 2 * HEIGHT), LIMIT)


def test_the_thumbnail_in_its_metadata_does_not_end_it() -> None:
    thumbnail = jpeg(photo()[:48, :64])
    content = jpeg(photo(), exif=Image.Exif().tobytes() + thumbnail)
    assert content.index(END) < 2 * len(thumbnail)
    with pytest.raises(UndecodableImage, match="ends before"):
        decode(content[: len(content) * 2 // 3] + END, LIMIT)
    assert decode(content, LIMIT).height == HEIGHT


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_a_whole_jpeg_may_be_gray_below(options: dict[str, Any]) -> None:
    content = jpeg(photo(gray_rows=96), **options)
    picture = decode(content, LIMIT)
    assert len(np.unique(picture.rgb[-ROWS:])) == 1
    # What cameras and editors leave behind the end is no part of it.
    assert np.array_equal(decode(content + bytes(99), LIMIT).rgb, picture.rgb)


def test_without_its_last_row_of_blocks_a_jpeg_is_shown() -> None:
    picture = decode(with_height(jpeg(photo()), HEIGHT + ROWS), LIMIT)
    assert (picture.width, picture.height) == (WIDTH, HEIGHT + ROWS)
