"""Bytes to pixels and back: every kind of file that people upload, one kind of array inside."""

import io
import math
import struct
from contextlib import suppress
from dataclasses import dataclass

import cv2
import imagehash
import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from pipeline.cut_off import is_cut_off
from pipeline.errors import UndecodableImage
from pipeline.image_bombs import Reader, check_directory, check_work

FORMATS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
}
SMALLEST_SIDE = 16
JPEG_QUALITY = 90
_JPEG = (
    *(cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY),
    *(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    *(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
)
# Rows that are turned gray at a time: Pillow keeps four bytes for each pixel of an RGB image.
BAND = 256
# The most that WebP holds.
LONGEST_SIDE = 16383
# Gray of more than 8 bits.
_DEEP = ("I;16", "I;16B", "I;16L", "I", "F")
# What Pillow raises where EXIF makes no sense. It says nothing of the pixels then: they are taken
# as they stand.
_BROKEN_EXIF = (SyntaxError, OSError, ValueError, LookupError, TypeError, struct.error)

_SIGNATURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"BM", "image/bmp"),
)


@dataclass(frozen=True)
class Picture:
    """A decoded photo, upright and in sRGB.

    Attributes:
        rgb: (H, W, 3) uint8.
        alpha: (H, W) uint8, or none where the photo is opaque.
        gray: whether the file held no colour.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.rgb.shape[0])

    def on_white(self) -> np.ndarray:
        """(H, W, 3) uint8: what a page with a white ground shows."""
        if self.alpha is None:
            return self.rgb
        ground = Image.new("RGB", (self.width, self.height), "white")
        ground.paste(Image.fromarray(self.rgb), mask=Image.fromarray(self.alpha))
        return np.asarray(ground)


def content_type(content: bytes) -> str:
    """What the first bytes say the file is; ``application/octet-stream`` for anything else."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next(
        (kind for signature, kind in _SIGNATURES if content.startswith(signature)),
        "application/octet-stream",
    )


class Photo:
    """The file of a photo, of which nothing is decompressed yet: JPEG, PNG, WebP, GIF, TIFF or BMP.

    It can be decoded once, whole or smaller: EXIF orientation is applied, colour profiles and CMYK
    become sRGB, 16 bits become 8, and of what moves there is the first frame.

    Attributes:
        pixels: width times height.

    Raises:
        UndecodableImage: no image, a damaged one, or one outside the sizes allowed. Nothing larger
            than ``max_pixels`` is ever decompressed.
    """

    def __init__(self, content: bytes, max_pixels: int) -> None:
        if not content:
            raise UndecodableImage("the file is empty")
        self._content = content
        self._errors = _Undecodable(max_pixels)
        with self._errors:
            check_directory(content)
            image = Image.open(Reader(content), formats=list(FORMATS))
            _check_size(image, max_pixels)
            check_work(image, content, max_pixels)
        self._image: Image.Image = image
        self.pixels = image.width * image.height

    def decode(self) -> Picture:
        """All of its pixels.

        Raises:
            UndecodableImage: it is damaged.
        """
        with self._errors, self._taken() as image:
            image.load()
            if image.format in ("JPEG", "MPO") and is_cut_off(image, self._content):
                raise UndecodableImage("the image is damaged: it ends before its last rows")
            return _picture(image)

    def shrink(self, width: int) -> Picture:
        """At most so many pixels wide; a smaller one stays as it is.

        Much cheaper than to resize what ``decode`` gives: a JPEG is decompressed at an eighth of
        its size or a quarter, where that is enough, and colours are converted last.

        Raises:
            UndecodableImage: it is damaged.
        """
        with self._errors, self._taken() as image:
            orientation = 1
            with suppress(*_BROKEN_EXIF):
                orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            lies_on_its_side = orientation in (5, 6, 7, 8)
            upright = image.size[::-1] if lies_on_its_side else image.size
            size = fit_width(*upright, width)
            if image.mode in ("1", "P", "PA"):
                image = image.convert("RGBA" if image.has_transparency_data else "RGB")
            if image.mode not in _DEEP:
                box = size[::-1] if lies_on_its_side else size
                image.thumbnail(box, Image.Resampling.LANCZOS, reducing_gap=2.0)
            image.load()
            picture = _picture(image)
        rgb, alpha = resize(picture.rgb, *size), picture.alpha
        return Picture(rgb, None if alpha is None else resize(alpha, *size), picture.gray)

    def _taken(self) -> Image.Image:
        """The image, which goes when its pixels have been taken over, whoever holds the file."""
        image = self._image
        del self._image
        return image


def decode(content: bytes, max_pixels: int) -> Picture:
    """Decode a photo for whose pixels there is room; see ``Photo``.

    Raises:
        UndecodableImage: see ``Photo``.
    """
    return Photo(content, max_pixels).decode()


def encode(picture: Picture) -> tuple[bytes, str]:
    """Encode for the page: JPEG, or WebP where there is transparency.

    Returns:
        The bytes and their content type.

    Raises:
        ValueError: a side is too long for the format.
    """
    if picture.alpha is not None:
        target = io.BytesIO()
        Image.fromarray(np.dstack([picture.rgb, picture.alpha])).save(
            target, "WEBP", quality=JPEG_QUALITY
        )
        return target.getvalue(), "image/webp"
    code = cv2.COLOR_RGB2GRAY if picture.gray else cv2.COLOR_RGB2BGR
    # The same bytes as from Pillow, which lets no other thread run meanwhile.
    fits, content = cv2.imencode(".jpg", cv2.cvtColor(picture.rgb, code), _JPEG)
    if not fits:
        raise ValueError(f"too long a side for a JPEG: {picture.width}x{picture.height}")
    return content.tobytes(), "image/jpeg"


def fit(width: int, height: int, long_side: int, short_side: int) -> tuple[int, int]:
    """The largest size of the same shape inside the box, which turns with the photo."""
    box = (long_side, short_side) if width >= height else (short_side, long_side)
    ratio = min(box[0] / width, box[1] / height)
    return max(1, math.floor(width * ratio + 1e-6)), max(1, math.floor(height * ratio + 1e-6))


def fit_width(width: int, height: int, most: int) -> tuple[int, int]:
    """The size of the same shape that is at most so wide, and never larger."""
    ratio = min(1.0, most / width, LONGEST_SIDE / height)
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def resize(array: np.ndarray, width: int, height: int) -> np.ndarray:
    """Lanczos-resample (H, W) or (H, W, 3) uint8."""
    if array.shape[:2] == (height, width):
        return array
    return np.asarray(Image.fromarray(array).resize((width, height), Image.Resampling.LANCZOS))


def perceptual_hash(rgb: np.ndarray) -> str:
    """64 bits as hexadecimal digits; near-duplicates differ in few of them (DCT hash)."""
    height, width = rgb.shape[:2]
    gray = Image.new("L", (width, height))
    for top in range(0, height, BAND):
        gray.paste(Image.fromarray(rgb[top : top + BAND]).convert("L"), (0, top))
    return np.packbits(imagehash.phash(gray).hash).tobytes().hex()


class _Undecodable:
    """Gives one name to whatever goes wrong in a block."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        match error:
            case UnidentifiedImageError():
                cause = f"not an image of the kinds {', '.join(FORMATS)}"
            case Image.DecompressionBombError():
                cause = f"larger than {self._max_pixels / 1e6:.0f} megapixels"
            case OSError() | SyntaxError() | ValueError() | IndexError() | EOFError():
                cause = f"the image is damaged: {error}"
            case _:
                return
        raise UndecodableImage(cause) from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise UndecodableImage(
            f"{width}x{height} is {width * height / 1e6:.0f} megapixels, "
            f"the limit is {max_pixels / 1e6:.0f}"
        )
    if min(width, height) < SMALLEST_SIDE:
        raise UndecodableImage(
            f"{width}x{height} is too small to be a photo, "
            f"the shorter side must have {SMALLEST_SIDE} pixels"
        )


def _picture(image: Image.Image) -> Picture:
    profile = image.info.get("icc_profile")
    with suppress(*_BROKEN_EXIF):
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode in _DEEP:
        return _deep_gray(image)
    gray = image.mode in ("1", "L", "LA")
    alpha = None
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
        if alpha.min() == 255:
            alpha = None
        image = image.convert("RGB")
    return Picture(np.asarray(_to_srgb(image, profile)), alpha, gray)


def _deep_gray(image: Image.Image) -> Picture:
    """Gray of more than 8 bits: 16-bit values keep their upper 8.

    Numbers with a fraction have no range of their own: it is taken to be 0..1, 0..255 or 0..65535,
    the first that holds them all.
    """
    values = np.array(image)
    if image.mode == "F":
        np.nan_to_num(values, copy=False, posinf=0, neginf=0)
        most = values.max(initial=0)
        ceiling = next((ceiling for ceiling in (1, 255) if most <= ceiling), 65535)
        values *= 255 / ceiling
    elif image.mode == "I":
        values = np.clip(values, 0, 65535, out=values) >> 8
    else:
        values >>= 8
    gray = np.clip(values, 0, 255, out=values).astype(np.uint8)
    return Picture(np.repeat(gray[..., None], 3, axis=2), None, True)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile and image.mode in ("RGB", "CMYK"):
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
        except (ImageCms.PyCMSError, OSError):
            # A broken profile says nothing of the pixels: they are taken as they stand.
            converted = None
        if converted is not None:
            return converted
    # Pillow would copy it.
    return image if image.mode == "RGB" else image.convert("RGB")
