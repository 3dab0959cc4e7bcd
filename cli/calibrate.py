"""``justlens calibrate``: the threshold of the one-class flag, from labelled photos."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cli.ingest import read_vocabulary
from cli.intake import read_json
from cli.output import out, print_json, progress
from models.errors import ModelError
from pipeline.errors import JustLensError
from pipeline.imaging import decode
from pipeline.settings import SERVICES, Settings
from tasks.runtime import Runtime

PHOTOS_PER_PASS = 8
THRESHOLDS = tuple(
    digit / power for power in (1000, 100, 10) for digit in (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
)


@dataclass(frozen=True)
class Case:
    """A photo of a business, and whether it shows one of the categories that it is listed under."""

    file: Path
    names: tuple[str, ...]
    belongs: bool


@dataclass(frozen=True)
class Figures:
    """What a threshold does: of the flagged photos the share that belongs, and the reverse."""

    threshold: float
    precision: float
    recall: float
    f1: float


def calibrate(folder: Path, *, json_output: bool) -> None:
    """Print precision and recall of the flag at thresholds, and the one with the best F1."""
    cases = read_cases(folder)
    vocabulary = folder / "categories.txt"
    names = (
        read_vocabulary(vocabulary)
        if vocabulary.exists()
        else sorted({name for case in cases for name in case.names})
    )
    with _runtime() as here:
        here.stores.directory.add_vocabulary(names)
        try:
            shares = _shares(here, cases)
            encoder = here.model("image_text").identity
        except ModelError as error:
            raise JustLensError(str(error)) from error
        background = len(here.scorer().background.names)
    belongs = np.array([case.belongs for case in cases])
    rows = [figures(shares, belongs, threshold) for threshold in THRESHOLDS]
    best = recommended(rows)
    now = figures(shares, belongs, here.settings.one_class_threshold)
    if json_output:
        print_json(
            {
                "encoder": encoder,
                "background": background,
                "n": len(cases),
                "belonging": int(belongs.sum()),
                "thresholds": [asdict(row) for row in rows],
                "recommended": asdict(best),
                "in_force": asdict(now),
            }
        )
        return
    out.print(
        f"{encoder}, {background} names in the background; "
        f"{len(cases)} photos of businesses, of which {belongs.sum()} belong there",
        highlight=False,
    )
    out.print("threshold  precision  recall     F1", highlight=False)
    for row in rows:
        out.print(_line(row), style="bold" if row is best else "", highlight=False)
    out.print(f"in force:\n{_line(now)}", highlight=False)
    out.print(f"recommended: JUSTLENS_ONE_CLASS_THRESHOLD={best.threshold:g}", highlight=False)


def figures(shares: np.ndarray, belongs: np.ndarray, threshold: float) -> Figures:
    """Precision, recall and F1 of the flag at a threshold; 0 where nothing is flagged."""
    flagged = shares >= threshold
    right = int((flagged & belongs).sum())
    precision = right / max(int(flagged.sum()), 1)
    recall = right / max(int(belongs.sum()), 1)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return Figures(threshold, round(precision, 4), round(recall, 4), round(f1, 4))


def recommended(rows: Sequence[Figures]) -> Figures:
    """The best F1; of several the middle one, which is the safest against small changes.

    Raises:
        JustLensError: every threshold's F1 is 0.
    """
    best = max(row.f1 for row in rows)
    if not best:
        raise JustLensError(
            "no threshold flags a photo that belongs to its business: the encoder's weights are "
            "not trained, or not for such photos"
        )
    equal = [row for row in rows if row.f1 == best]
    return equal[len(equal) // 2]


def read_cases(folder: Path) -> list[Case]:
    """Every photo of every business.

    Raises:
        JustLensError: no business, or a file that is not what ``justlens evaluate`` reads.
    """
    listing = read_json(folder / "businesses.json")
    if not isinstance(listing, list):
        raise JustLensError(f"{folder / 'businesses.json'}: not a list of businesses")
    try:
        cases = [
            Case(folder / image["file"], names, image["category"] in names)
            for entry in listing
            for names in [tuple(entry["categories"].values())]
            for image in entry["images"]
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise JustLensError(f"{folder / 'businesses.json'}: {error!r}") from error
    if not 0 < sum(case.belongs for case in cases) < len(cases):
        raise JustLensError(
            "calibrating takes photos that belong to a category of their business and photos "
            "that do not"
        )
    return cases


@contextmanager
def _runtime() -> Iterator[Runtime]:
    """The chosen models on embedded stores of our own."""
    with tempfile.TemporaryDirectory(prefix="justlens-") as folder:
        own: dict[str, Any] = dict.fromkeys(SERVICES, "")
        here = Runtime(Settings(profile="embedded", data_dir=Path(folder), **own))
        here.stores.prepare()
        try:
            yield here
        finally:
            here.stores.close()


def _shares(here: Runtime, cases: Sequence[Case]) -> np.ndarray:
    """(N,) the share that the flag of each case is decided by."""
    vectors = _vectors(here, list(dict.fromkeys(case.file for case in cases)))
    scorer = here.scorer()
    return np.array([scorer.shows(vectors[case.file], case.names)[1] for case in cases])


def _vectors(here: Runtime, files: Sequence[Path]) -> dict[Path, np.ndarray]:
    encoder = here.model("image_text")
    vectors = {}
    with progress() as bars:
        task = bars.add_task("photos", total=len(files), note="")
        for start in range(0, len(files), PHOTOS_PER_PASS):
            some = files[start : start + PHOTOS_PER_PASS]
            try:
                pictures = [
                    decode(file.read_bytes(), here.settings.max_pixels).on_white() for file in some
                ]
            except OSError as error:
                raise JustLensError(str(error)) from error
            for file, embedding in zip(some, encoder(pictures), strict=True):
                vectors[file] = embedding.vector
            bars.advance(task, len(some))
    return vectors


def _line(row: Figures) -> str:
    return f"{row.threshold:9g}  {row.precision:9.3f}  {row.recall:6.3f}  {row.f1:5.3f}"
