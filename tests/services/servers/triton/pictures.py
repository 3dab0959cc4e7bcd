"""Pictures that say what is to be answered about them: a number and a kind, in black and white.

Read by the stand-ins inside of Triton, hence without anything of the project.
"""

import io
from enum import IntEnum

import numpy as np
from PIL import Image

SIDE = 320
CELLS = 4
NUMBER_BITS = 12


class Kind(IntEnum):
    """How the model answers about a picture."""

    WHOLE = 0
    FENCED = 1  # in a code fence, with words before it
    QUOTED_WRONG = 2  # single quotes, a stray comma
    CUT_OFF = 3  # whole when asked again
    WRONG_TYPES = 4  # tags as one text, the match as a word
    PROSE = 5  # JSON when asked again
    NEVER = 6  # never JSON
    LATE = 7  # the first time after `LATE_SECONDS`
    FAILING = 8  # an error, whichever server is asked


LATE_SECONDS = 3.0


def picture(number: int, kind: Kind = Kind.WHOLE) -> np.ndarray:
    """An RGB uint8 image (320, 320, 3); `number` is below 4096."""
    bits = [(number | kind << NUMBER_BITS) >> bit & 1 for bit in range(CELLS * CELLS)]
    cells = np.asarray(bits, dtype=np.uint8).reshape(CELLS, CELLS) * 255
    grey = cells.repeat(SIDE // CELLS, axis=0).repeat(SIDE // CELLS, axis=1)
    return grey[..., None].repeat(3, axis=2)


def read(jpeg: bytes) -> tuple[int, Kind]:
    """The number and the kind in a picture's file."""
    grey = np.asarray(Image.open(io.BytesIO(jpeg)).convert("L").resize((CELLS, CELLS), Image.BOX))
    value = sum(1 << bit for bit, cell in enumerate(grey.reshape(-1)) if cell > 127)
    return value & (1 << NUMBER_BITS) - 1, Kind(value >> NUMBER_BITS)
