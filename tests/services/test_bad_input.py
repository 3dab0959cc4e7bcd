"""What people upload by mistake: it works, or it is parked with a clear error."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.queues import Stage
from pipeline.records import ImageState
from tests.pictures import encoded, plain
from tests.services.conftest import Site

pytestmark = pytest.mark.services

PHOTO = plain((40, 160, 60), 200, 120)


def animated_gif() -> bytes:
    target = io.BytesIO()
    frames = [Image.fromarray(plain((40, 160, 60), 200, 120, seed)) for seed in range(3)]
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:])
    return target.getvalue()


def cmyk_jpeg() -> bytes:
    target = io.BytesIO()
    Image.fromarray(PHOTO).convert("CMYK").save(target, "JPEG")
    return target.getvalue()


def deep_png() -> bytes:
    target = io.BytesIO()
    Image.fromarray(np.full((120, 200), 40_000, dtype=np.uint16)).save(target, "PNG")
    return target.getvalue()


def rotated_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(PHOTO, "JPEG", exif=exif)


def huge_png() -> bytes:
    """20000x20000 pixels of one colour in a few kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    side = 20_000
    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes((1 + side // 8) * side), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


PARKED = {
    1: (b"", "empty"),
    2: (b"this is not a photo", "not an image"),
    3: (encoded(PHOTO, "JPEG")[:400], "damaged"),
    4: (encoded(plain(width=1, height=1)), "too small"),
    5: (huge_png(), "megapixels"),
}
FINE = {6: animated_gif(), 7: cmyk_jpeg(), 8: deep_png(), 9: rotated_jpeg(), 10: encoded(PHOTO)}


def test_bad_files_are_parked_with_their_cause_and_the_others_go_through(site: Site) -> None:
    site.worker()
    for number, (content, _) in PARKED.items():
        site.intake.accept_bytes("shop-1", number, content, name="photo.jpg")
    for number, content in FINE.items():
        site.intake.accept_bytes("shop-1", number, content)
    site.until(
        lambda: site.states() == {ImageState.DONE: len(FINE), ImageState.FAILED: len(PARKED)},
        "all have ended",
    )
    letters = {letter.product_id: letter for letter in site.stores.documents.dead_letters()}
    assert set(letters) == set(PARKED)
    for number, (_, cause) in PARKED.items():
        assert cause in letters[number].message
    assert {(letter.queue, letter.exception) for letter in letters.values()} == {
        (Stage.ENHANCE.value, "UndecodableImage")
    }
    assert "Traceback" in letters[2].traceback
    image = site.stores.documents.image("shop-1", 2)
    assert image is not None and "not an image" in image.failure
    parked = [letter["product_id"] for letter in site.parked(Stage.ENHANCE.value)]
    assert sorted(parked) == list(PARKED)
    turned = site.stores.documents.metadata([("shop-1", 9)])["shop-1", 9].enhancement
    assert turned is not None and turned.width < turned.height
