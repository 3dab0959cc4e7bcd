"""Ages as people type them: 90s, 15m, 2h, 7d."""

import re

from pipeline.errors import JustLensError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(age: str) -> float:
    """Seconds of an age.

    Raises:
        JustLensError: it has another form.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", age.strip())
    if match is None:
        raise JustLensError(f"an age is a number and s, m, h or d, such as 15m; not {age!r}")
    return float(match[1]) * _SECONDS[match[2]]
