"""What the stand-ins of both models have in common; runs inside of Triton.

`STAND_IN` names a folder: `journal` there gets a line for each picture that is answered, `delay`
holds the seconds that this server takes for every answer, `fault` what it says instead of one.
"""

import json
import os
import time
from pathlib import Path

from pictures import LATE_SECONDS, Kind, read

FOLDER = Path(os.environ["STAND_IN"])
SERVER = os.environ["STAND_IN_NAME"]


class Failure(Exception):
    """What the model cannot do."""


def told(what: str) -> str:
    """What this server is told by the test; empty: nothing."""
    file = FOLDER / f"{SERVER}.{what}"
    return file.read_text() if file.exists() else ""


def answer(jpeg: bytes, question: str) -> tuple[str, float]:
    """The answer about a picture, and the seconds after which it comes."""
    number, kind = read(jpeg)
    with (FOLDER / "journal").open("a") as journal:
        journal.write(f"{SERVER} {number} {kind.name}\n")
    if kind is Kind.FAILING:
        raise Failure(f"picture {number} cannot be looked at")
    if fault := told("fault"):
        raise Failure(fault)
    seconds = float(told("delay") or 0.0)
    return _worded(number, kind, "could not be read" in question), seconds + _late(number, kind)


def _late(number: int, kind: Kind) -> float:
    if kind is not Kind.LATE:
        return 0.0
    try:
        (FOLDER / f"late-{number}").touch(exist_ok=False)
    except FileExistsError:
        return 0.0
    return LATE_SECONDS


def _worded(number: int, kind: Kind, is_asked_again: bool) -> str:
    said = {
        "alt_text": f"Picture number {number}",
        "description": f"A pattern in black and white. It says {number}.",
        "tags": ["pattern", f"number {number}"],
        "category_match": number % 2,
    }
    whole = json.dumps(said)
    if kind is Kind.FENCED:
        return f"Here is the answer:\n```json\n{whole}\n```"
    if kind is Kind.QUOTED_WRONG:
        return whole.replace('"', "'").replace("}", ",}")
    if kind is Kind.CUT_OFF and not is_asked_again:
        return whole[: whole.index('"], "category_match"') - 3]
    if kind is Kind.WRONG_TYPES:
        return json.dumps(
            {
                **said,
                "tags": f"pattern, number {number}",
                "category_match": ["no", "yes"][number % 2],
            }
        )
    if kind is Kind.NEVER or (kind is Kind.PROSE and not is_asked_again):
        return "I see a pattern in black and white."
    return whole


def wait(seconds: float) -> None:
    """Be late."""
    if seconds:
        time.sleep(seconds)
