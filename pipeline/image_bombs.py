"""Files that are cheap to send and dear to decode, beyond a mere count of pixels.

Each is told by its header, before anything of it is decompressed.
"""

import io
import struct

from PIL import Image, JpegImagePlugin, TiffImagePlugin

from pipeline.errors import UndecodableImage

MOST_READS = 50_000
"""A photo of 30 MB is read in some ten thousand steps, a file of tiny pieces in millions."""

MOST_PASSES = 40
"""Times that a JPEG of as many pixels as are allowed is gone through; ten scans are usual."""

MOST_STRIPS = 200_000
_STRIPS = (TiffImagePlugin.STRIPOFFSETS, TiffImagePlugin.TILEOFFSETS)


class Reader(io.BytesIO):
    """The bytes of a file, for a decoder that reads them in a reasonable number of steps."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._left = MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file.

        Raises:
            UndecodableImage: the file is in too many pieces.
        """
        self._left -= 1
        if self._left < 0:
            raise UndecodableImage(
                f"the file is in more than {MOST_READS} pieces; save the photo anew and send that"
            )
        return super().read(size)


def check_directory(content: bytes) -> None:
    """Refuse a TIFF of too many strips, for which Pillow makes an object each when it opens it.

    Raises:
        UndecodableImage: it has too many, or its directory cannot be read.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None:
        return
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (entries,) = struct.unpack_from(f"{order}H", content, start)
        for entry in range(entries):
            tag, _, count = struct.unpack_from(f"{order}HHI", content, start + 2 + 12 * entry)
            if tag in _STRIPS and count > MOST_STRIPS:
                raise UndecodableImage(
                    f"the pixels are in {count} strips, the limit is {MOST_STRIPS}"
                )
    except struct.error as error:
        raise UndecodableImage("the image is damaged: its directory is cut off") from error


def check_work(image: Image.Image, content: bytes, max_pixels: int) -> None:
    """Refuse an opened image that costs far more than its pixels say.

    Raises:
        UndecodableImage: a JPEG that is gone through too often, or a TIFF with too large a tile.
    """
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        passes = _scans(image, content)
        if passes * image.width * image.height > MOST_PASSES * max_pixels:
            raise UndecodableImage(
                f"{passes} scans of {image.width}x{image.height} are too many; "
                "save the photo anew and send that"
            )
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        width = image.tag_v2.get(TiffImagePlugin.TILEWIDTH, 0)
        height = image.tag_v2.get(TiffImagePlugin.TILELENGTH, 0)
        if not isinstance(width, int) or not isinstance(height, int):
            raise UndecodableImage("the image is damaged: the size of its tiles is no number")
        if width * height > max_pixels:
            raise UndecodableImage(
                f"a tile of {width}x{height} is {width * height / 1e6:.0f} megapixels, "
                f"the limit is {max_pixels / 1e6:.0f}"
            )


def _scans(image: JpegImagePlugin.JpegImageFile, content: bytes) -> int:
    """How many scans a JPEG is decoded from.

    Where the first one holds all of the picture, nothing behind it is looked at.
    """
    # Pillow stops behind the first marker of a scan: a length of two bytes, a count of components.
    start = image.fp.tell() if image.fp else 0
    is_whole = not image.info.get("progressive") and content[start + 2] >= image.layers
    return 1 if is_whole else 1 + content.count(b"\xff\xda", start)
