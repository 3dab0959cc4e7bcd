"""How good a photo is by itself."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from models.base import Model
from models.errors import UnsuitableInput


@dataclass(frozen=True, slots=True)
class TechnicalFlags:
    """What is wrong with a picture, whatever it shows; None where the backend cannot know."""

    blurred: bool | None = None
    nearly_blank: bool | None = None
    screenshot: bool | None = None
    collage: bool | None = None


@dataclass(frozen=True, slots=True)
class Measures:
    """What the flags are decided on; None where the backend cannot know. Shares are 0..1.

    `edge_width`: px over which the strongest edges rise, at the working size.
    `spread`: grey levels between the 1st and the 99th percentile.
    `flat`: share of 8x8 blocks of a single colour, at the picture's own size.
    `ruled_lines`: number of straight even lines as long as a third of the picture, as windows,
    panels and tables have; each side of a thin line counts.
    `axis_aligned`: share of the edge energy that runs exactly along or across.
    `seam`: share of the picture's height or width along which one straight line divides it.
    """

    edge_width: float | None = None
    spread: float | None = None
    flat: float | None = None
    ruled_lines: int | None = None
    axis_aligned: float | None = None
    seam: float | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """A score of 0 (bad) to 100 (good), and what else the backend can say.

    `parts`: what the score is made of, by name, each 0 (bad) to 1 (good); empty where it has none.
    """

    score: float
    parts: Mapping[str, float] = field(default_factory=dict)
    flags: TechnicalFlags = TechnicalFlags()
    measures: Measures = Measures()


class QualityAssessor(Model):
    """Judges pictures without a reference. May be called from several threads."""

    @abstractmethod
    def __call__(self, image: np.ndarray) -> Quality:
        """Judges an RGB uint8 image of shape (height, width, 3). Raises `UnsuitableInput`."""


WORKING_SIDE = 512
"""Longest side in px at which all is measured that does not need the picture's own pixels."""

NATIVE_SIDE = 1024
"""What needs the picture's own pixels looks at a central cut of at most this many px a side."""

TARGET_PIXELS = 1280 * 720
"""The size that the enhancement aims at; more resolution is not better."""

WEIGHTS = {
    "sharpness": 0.30,
    "exposure": 0.15,
    "contrast": 0.15,
    "noise": 0.15,
    "resolution": 0.15,
    "colourfulness": 0.10,
}

# Set so that real photos pass, soft ones among them: over 73 of them the widest edge was 9.3 px at
# a sharpness of 0.2, and the largest flat share 0.54. Blurred by a Gaussian of 3 px, they are all
# caught.
BLURRED_EDGE_WIDTH = 7.5
BLURRED_SHARPNESS = 0.08
BLANK_SPREAD = 12.0
SCREENSHOT_FLAT = 0.6
SCREENSHOT_RULED_LINES = 10
SCREENSHOT_AXIS_ALIGNED = 0.4
# Over 85 real photos the longest seam had 0.86 of the picture, the edge of a stage. Of collages of
# two such photos, as JPEG, 98 % are caught with a white bar between them, 65 % without one.
COLLAGE_SEAM = 0.9
STRONG_EDGE = 24.0
"""Sobel response of a step of 6 grey levels."""


class NoReference(QualityAssessor):
    """Classical measures. Grey (height, width) uint8 images are judged as well.

    All is computed at a bounded working size, so that a phone photo costs what a thumbnail costs;
    only resolution, noise and what tells a screenshot need the real pixels.

    The score is the weighted mean of its parts. The flags err on the side of letting a picture
    pass. A nearly blank picture is not also called blurred: it has nothing that could be sharp; and
    the seams of a screenshot are those of its windows.
    """

    name = "no-reference"
    version = "2"

    def __call__(self, image: np.ndarray) -> Quality:
        colour = _colour(image)
        working = _working(colour)
        grey = cv2.cvtColor(working, cv2.COLOR_RGB2GRAY)
        centre = cv2.cvtColor(_centre(colour, NATIVE_SIDE), cv2.COLOR_RGB2GRAY)
        parts = {
            # A photo of shallow focus starts at about 20, a crisp one passes 1500.
            "sharpness": _between(
                math.log(laplacian_variance(grey) + 1), math.log(20), math.log(1500)
            ),
            "exposure": _exposure(grey),
            # RMS contrast (Peli 1990) of a well-lit photo is about a quarter of the range.
            "contrast": _between(float(grey.std()) / 255, 0.02, 0.22),
            "noise": 1 - _between(noise_sigma(centre), 1.5, 15),
            "resolution": min(1.0, math.sqrt(colour.shape[0] * colour.shape[1] / TARGET_PIXELS)),
            # Hasler and Suesstrunk call 15 slightly and 59 quite colourful.
            "colourfulness": _between(colourfulness(working), 0, 59),
        }
        low, high = np.percentile(grey, (1, 99))
        spread = float(high - low)
        edge_width = _edge_width(grey, spread)
        across = np.abs(cv2.Sobel(centre, cv2.CV_32F, 1, 0))
        down = np.abs(cv2.Sobel(centre, cv2.CV_32F, 0, 1))
        flat = _flat_share(centre)
        ruled_lines = _ruled_lines(across, down)
        axis_aligned = _axis_aligned_share(across, down)
        seam = max(_longest_seam(working), _longest_seam(cv2.transpose(working)))
        nearly_blank = spread < BLANK_SPREAD
        screenshot = (
            not nearly_blank
            and flat > SCREENSHOT_FLAT
            and ruled_lines >= SCREENSHOT_RULED_LINES
            and axis_aligned > SCREENSHOT_AXIS_ALIGNED
        )
        return Quality(
            score=round(100 * sum(WEIGHTS[name] * value for name, value in parts.items()), 2),
            parts=parts,
            flags=TechnicalFlags(
                blurred=not nearly_blank
                and edge_width > BLURRED_EDGE_WIDTH
                and parts["sharpness"] < BLURRED_SHARPNESS,
                nearly_blank=nearly_blank,
                screenshot=screenshot,
                collage=not nearly_blank and not screenshot and seam > COLLAGE_SEAM,
            ),
            measures=Measures(edge_width, spread, flat, ruled_lines, axis_aligned, seam),
        )

    def _load(self) -> None:
        return None


def laplacian_variance(grey: np.ndarray) -> float:
    """Variance of the Laplacian, the focus measure of Pech-Pacheco et al. 2000 (ICPR)."""
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def noise_sigma(grey: np.ndarray) -> float:
    """Standard deviation of the noise in grey levels.

    Immerkaer 1996, Fast Noise Variance Estimation (CVIU 64), computed block by block: the quarter
    of blocks with the least response are the flat ones, where it sees noise and not texture.
    """
    if min(grey.shape) < 3:
        return 0.0
    # Immerkaer's mask is this second difference along and across; what it gives are integers.
    second = np.array([1, -2, 1], dtype=np.float32)
    response = np.abs(cv2.sepFilter2D(grey, cv2.CV_16S, second, second))[1:-1, 1:-1]
    response = response.astype(np.float32)
    levels = grey[1:-1, 1:-1].astype(np.float32)
    block = 16
    rows, columns = (max(1, side // block) for side in response.shape)
    # A block is one pixel of an area-resized picture: its mean.
    means = cv2.resize(response, (columns, rows), interpolation=cv2.INTER_AREA).ravel()
    brightness = cv2.resize(levels, (columns, rows), interpolation=cv2.INTER_AREA).ravel()
    # Clipped blocks have lost their noise.
    usable = means[(brightness > 8) & (brightness < 247)]
    if usable.size < 0.05 * means.size:
        usable = means
    below, quarters = divmod(usable.size - 1, 4)
    above = min(below + 1, usable.size - 1)
    low, high = np.partition(usable, (below, above))[[below, above]]
    # From the nearer one, as np.percentile has it, which takes ten times as long for so few.
    nearer, way = (low, quarters / 4) if quarters < 2 else (high, quarters / 4 - 1)
    return float(nearer + (high - low) * way) * math.sqrt(math.pi / 2) / 6


def colourfulness(image: np.ndarray) -> float:
    """Hasler and Suesstrunk 2003, Measuring colourfulness in natural images (SPIE 5007): their M3.

    0 is grey, 59 quite colourful, 109 extremely colourful.
    """
    red, green, blue = (image[..., channel].astype(np.float32) for channel in range(3))
    red_green = red - green
    yellow_blue = (red + green) / 2 - blue
    spread = math.hypot(float(red_green.std()), float(yellow_blue.std()))
    strength = math.hypot(float(red_green.mean()), float(yellow_blue.mean()))
    return spread + 0.3 * strength


def _edge_width(grey: np.ndarray, spread: float) -> float:
    """Range of the picture over its steepest slopes: 1 to 3 px for sharp edges.

    The width of edges tells blur from lack of texture, which a Laplacian's variance does not
    (Marziliano et al. 2002, A no-reference perceptual blur metric, ICIP).
    """
    smooth = cv2.GaussianBlur(grey, (3, 3), 0).astype(np.float32)
    slope = np.hypot(
        cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8),
        cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8),
    )
    steepest = float(np.percentile(slope, 99.5))
    return min(spread / steepest, WORKING_SIDE) if steepest > 0 else WORKING_SIDE


def _flat_share(grey: np.ndarray) -> float:
    height, width = (side - side % 8 for side in grey.shape)
    if not (height and width):
        return 0.0
    # Rows of blocks first, whole rows of the picture at a time.
    rows = grey[:height, :width].reshape(height // 8, 8, width)
    brightest, darkest = (
        one.reshape(height // 8, width // 8, 8) for one in (rows.max(axis=1), rows.min(axis=1))
    )
    return float((brightest.max(axis=2) - darkest.min(axis=2) <= 1).mean())


def _ruled_lines(across: np.ndarray, down: np.ndarray) -> int:
    # A drawn line has the same contrast all along; the edge of a fridge or a door has not.
    steady = 16.0
    on_column = (across > STRONG_EDGE) & (down < across / 8)
    on_column[1:] &= np.abs(np.diff(across, axis=0)) < steady
    on_row = (down > STRONG_EDGE) & (across < down / 8)
    on_row[:, 1:] &= np.abs(np.diff(down, axis=1)) < steady
    columns, rows = on_column.mean(axis=0) > 1 / 3, on_row.mean(axis=1) > 1 / 3
    return sum(int(np.sum(ruled[1:] & ~ruled[:-1])) + int(ruled[0]) for ruled in (columns, rows))


def _axis_aligned_share(across: np.ndarray, down: np.ndarray) -> float:
    energy = across + down
    strong = energy > STRONG_EDGE
    total = float(energy[strong].sum())
    if total == 0:
        return 0.0
    aligned = strong & (np.minimum(across, down) < np.maximum(across, down) / 8)
    return float(energy[aligned].sum()) / total


def _longest_seam(image: np.ndarray) -> float:
    """Share of the rows in which the picture changes abruptly at one and the same column.

    Abruptly is by twice as much as around it, which holds for a cut between two photos and for few
    edges of things. Columns at the sides are frames; a picture beside a plain area, as a product
    on white, is not divided.
    """
    width = image.shape[1]
    margin = width // 8
    if width - 1 <= 2 * margin:
        return 0.0
    changes = cv2.split(cv2.absdiff(image[:, 1:], image[:, :-1]))
    step = np.maximum.reduce(changes).astype(np.float32)
    around = cv2.blur(step, (9, 1), borderType=cv2.BORDER_REFLECT)
    seams = ((step > 2 * around) & (step > 8)).mean(axis=0)
    column = margin + int(seams[margin : width - 1 - margin].argmax())
    plain = 12
    sides = image[:, :column], image[:, column + 2 :]
    if any(not side.size or cv2.meanStdDev(side)[1].max() < plain for side in sides):
        return 0.0
    return float(seams[column])


def _exposure(grey: np.ndarray) -> float:
    """1 for a mid-grey mean without clipping; Gaussian about the middle as in exposure fusion
    (Mertens et al. 2007), less the share of pixels that are clipped to black or white."""
    mean = float(grey.mean()) / 255
    clipped = float(((grey <= 2) | (grey >= 253)).mean())
    return math.exp(-((mean - 0.5) ** 2) / (2 * 0.25**2)) * (1 - 0.5 * clipped)


def _between(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _colour(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 or 0 in image.shape:
        raise UnsuitableInput(f"not a uint8 image: {image.dtype} {image.shape}")
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    if image.ndim == 3 and image.shape[2] == 3:
        return np.ascontiguousarray(image)
    raise UnsuitableInput(f"neither an RGB nor a grey image: {image.shape}")


def _working(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = WORKING_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _centre(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return image[top : top + side, left : left + side]
