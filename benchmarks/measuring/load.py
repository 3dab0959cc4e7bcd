"""Load on a server at a fixed rate, by locust in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

Request = tuple[str, str, str, Any]
"""Kind, method, path and body; no body: None."""

SCRIPT = Path(__file__).parent / "locustfile.py"


class Answer(NamedTuple):
    """What came of a request.

    Attributes
    ----------
    due:
        Seconds from the start of the load to when it was due.
    seconds:
        From then until the whole answer was there.
    status:
        Of HTTP; 0: the connection failed.
    """

    kind: str
    due: float
    seconds: float
    status: int


@dataclass(frozen=True)
class Plan:
    """Requests that are due at random, whether or not those before them are answered.

    Attributes
    ----------
    rate:
        Of requests, per second.
    patience:
        Seconds after which the client gives a connection up.
    """

    url: str
    rate: float
    requests: list[Request]
    answers: str
    patience: float = 60.0
    seed: int = 3


def load(url: str, requests: Iterable[Request], rate: float, folder: Path) -> list[Answer]:
    """Every answer to the requests, in the order in which they came.

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
    plan.write_text(json.dumps(asdict(Plan(url, rate, list(requests), str(answers)))))
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(SCRIPT), "--headless", "--users", "1",
         "--only-summary", "--exit-code-on-error", "0"],
        env={**os.environ, "LOAD_PLAN": str(plan)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"locust: {done.stderr[-2000:]}")
    return [Answer(*json.loads(line)) for line in answers.read_text().splitlines()]
