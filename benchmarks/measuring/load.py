"""Load on a server at fixed rates, by locust in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Request = tuple[str, str, str, Any]
"""Kind, method, path and body; no body: None."""

SCRIPT = Path(__file__).parent / "locustfile.py"
WINDOW = 0.5


@dataclass(frozen=True)
class Step:
    """Requests that are due at random, whether or not those before them are answered.

    Attributes
    ----------
    rate:
        Of requests, per second.
    """

    name: str
    rate: float
    requests: Sequence[Request]


class Answer(NamedTuple):
    """What came of a request.

    Attributes
    ----------
    step, kind:
        The names of its step and of what was asked for.
    due:
        Seconds from the start of the load to when it was due.
    seconds:
        From then until the whole answer was there.
    status:
        Of HTTP; 0: the connection failed.
    """

    step: str
    kind: str
    due: float
    seconds: float
    status: int

    @property
    def is_good(self) -> bool:
        """Whether the server has answered what was asked for."""
        return 200 <= self.status < 300


def load(url: str, steps: Iterable[Step], folder: Path) -> list[Answer]:
    """Every answer, in the order in which they came.

    A step begins when the last request of the one before it has been answered.

    Parameters
    ----------
    folder:
        Where the requests and answers are written down for the other process.

    Raises
    ------
    RuntimeError
        Locust failed.
    """
    plan, answers = folder / "plan.json", folder / "answers.jsonl"
    written = {"url": url, "steps": [asdict(step) for step in steps], "answers": str(answers)}
    plan.write_text(json.dumps(written))
    command = [sys.executable, "-m", "locust", "-f", str(SCRIPT), "--headless", "--users", "1"]
    done = subprocess.run(
        [*command, "--only-summary", "--exit-code-on-error", "0"],
        env={**os.environ, "LOAD_PLAN": str(plan)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"locust: {done.stderr[-2000:]}")
    return [Answer(*json.loads(line)) for line in answers.read_text().splitlines()]


def percentiles(answers: Iterable[Answer]) -> dict[str, float]:
    """Milliseconds within which half, 90, 95 and 99 of 100 good answers were there."""
    seconds = [answer.seconds for answer in answers if answer.is_good] or [float("nan")]
    found = np.percentile(seconds, (50, 90, 95, 99))
    return {
        name: round(1000 * float(value), 1)
        for name, value in zip(("p50_ms", "p90_ms", "p95_ms", "p99_ms"), found, strict=True)
    }


def good_a_second(answers: Sequence[Answer], skip: float = 1.0) -> list[float]:
    """Good answers per second in each half second of a step, from ``skip`` seconds on."""
    start = min(answer.due for answer in answers) + skip
    last = max(answer.due for answer in answers)
    ended = [answer.due + answer.seconds for answer in answers if answer.is_good]
    edges = np.arange(start, last, WINDOW)
    return [float(count) / WINDOW for count in np.histogram(ended, edges)[0]]
