"""``justlens dlq``: what was parked."""

import time

from rich.table import Table

from cli.output import out, print_json
from pipeline.errors import JustLensError
from pipeline.settings import settings
from pipeline.stores import open_stores


def show_list(*, queue: str, limit: int, json_output: bool) -> None:
    """Dead letters, newest first."""
    letters = open_stores(settings()).documents.dead_letters(queue=queue or None, limit=limit)
    if json_output:
        print_json([letter.model_dump(mode="json", exclude={"traceback"}) for letter in letters])
        return
    table = Table(box=None)
    for column in ("key", "image", "cause", "tries", "last"):
        # A key that is cut off is of no use to `dlq show`.
        table.add_column(column, overflow="fold")
    for letter in letters:
        table.add_row(
            letter.key,
            f"{letter.docid}/{letter.product_id}" if letter.docid else "",
            f"{letter.exception}: {letter.message}",
            str(letter.tries),
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(letter.last_at)),
        )
    out.print(table if letters else "Nothing is parked.")


def show_one(key: str, *, json_output: bool) -> None:
    """One dead letter, whole."""
    letters = open_stores(settings()).documents.dead_letters(limit=1_000_000)
    letter = next((letter for letter in letters if letter.key == key), None)
    if letter is None:
        raise JustLensError(f"nothing is parked under {key}")
    if json_output:
        print_json(letter.model_dump(mode="json"))
        return
    for name, value in letter.model_dump(mode="json").items():
        out.print(f"[bold]{name}[/]: {value}", highlight=False, markup=name != "traceback")
