"""Where the larger data for measurements lies; tests that need it are skipped without it."""

import os
from pathlib import Path

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"

DATA = Path(os.environ.get("JUSTLENS_MEASURING_DATA", _BESIDE))
