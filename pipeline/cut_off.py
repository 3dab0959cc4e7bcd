"""JPEGs that end before their picture does.

A file without its end is found by Pillow. One that has an end, but less in between than its header
promises (an upload that was put together wrongly, a height that was changed), is decoded without a
word: libjpeg leaves the rest gray.
"""

import io
import re

from PIL import Image

# A row of blocks. With a stripe of that height at its bottom a photo is still worth showing, with a
# higher one it is not what its owner meant to upload.
ROWS = 16
# What becomes of blocks that are all zero; CMYK is stored inverted.
GRAY = (127, 128)
# The end of what is coded: a marker that is neither a restart nor a stuffed 0xff.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END = 0xD9
# Read as codes for blocks, where blocks are missing.
_FILLER = b"\x5a" * 256


def is_cut_off(image: Image.Image, content: bytes) -> bool:
    """Whether more than the last ``ROWS`` rows of a JPEG were left gray for want of data.

    Args:
        image: decoded, before it is turned.
        content: the file that it was decoded from.
    """
    bottom = image.crop((0, max(0, image.height - ROWS - 1), *image.size))
    if not _is_gray(bottom):
        return False
    # A photo may be gray there. With more data behind its own it stays so, for nothing is read
    # beyond the last block; where blocks are missing, they are read from it.
    end = _end(content)
    filled = content[:end] + _FILLER + content[end:]
    with Image.open(io.BytesIO(filled), formats=["JPEG"]) as again:
        again.load()
        return again.tobytes() != image.tobytes()


def _is_gray(strip: Image.Image) -> bool:
    extrema = strip.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(low == high and low in GRAY for low, high in bands)


def _end(content: bytes) -> int:
    """Where the end marker of the first picture is; a thumbnail in its metadata has one, too."""
    at = 2
    while found := _MARKER.search(content, at):
        at, kind = found.start(), content[found.start() + 1]
        if kind == _END:
            return at
        # A segment says how long it is; behind that of a scan lies what is coded.
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return len(content)
