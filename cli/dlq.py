"""``justlens dlq``: what was parked, and what to do about it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.table import Table

from cli.ages import seconds
from cli.output import out, print_json
from pipeline.errors import JustLensError
from pipeline.graph import Sender
from pipeline.ingest import Intake
from pipeline.records import DeadLetter
from pipeline.replay import Replayer
from pipeline.settings import settings
from pipeline.stores import Stores, open_stores

ALL = 1_000_000


def show_list(
    *, queue: str, exception: str, older_than: str, limit: int, json_output: bool
) -> None:
    """Dead letters, newest first, and how many there are by their causes."""
    with _stores() as stores:
        letters = _find(stores, queue, exception, older_than, limit)
        counts = stores.documents.count_dead_letters()
    causes = sorted(counts.items(), key=lambda cause: -cause[1])
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
    out.print(table if letters else "Nothing is parked." if not counts else "None of them fits.")
    for (of_queue, of_exception), count in causes:
        out.print(f"{count:6} {of_exception} in {of_queue}", highlight=False)


def show_one(key: str, *, json_output: bool) -> None:
    """One dead letter, whole."""
    with _stores() as stores:
        (letter,) = _named(stores, [key])
    if json_output:
        print_json(letter.model_dump(mode="json"))
        return
    for name, value in letter.model_dump(mode="json").items():
        out.print(f"[bold]{name}[/]: {value}", highlight=False, markup=name != "traceback")


def replay(
    keys: Sequence[str], *, queue: str, exception: str, older_than: str, json_output: bool
) -> None:
    """Send dead letters again: those named, or all that fit the filters."""
    with _stores() as stores:
        letters = _chosen(stores, keys, queue, exception, older_than)
        results = _replayer(stores).replay(letters)
    if json_output:
        print_json([vars(result) for result in results])
        return
    for result in results:
        out.print(f"{result.outcome:10} {result.key} {result.detail}", highlight=False)
    sent = sum(result.outcome == "sent" for result in results)
    out.print(f"{sent} of {len(results)} sent again.")


def drop(
    keys: Sequence[str], *, queue: str, exception: str, older_than: str, json_output: bool
) -> None:
    """Forget dead letters: those named, or all that fit the filters."""
    with _stores() as stores:
        letters = _chosen(stores, keys, queue, exception, older_than)
        count = _replayer(stores).drop(letters)
    if json_output:
        print_json({"dropped": count})
    else:
        out.print(f"{count} dropped.")


@contextmanager
def _stores() -> Iterator[Stores]:
    stores = open_stores(settings())
    try:
        yield stores
    finally:
        stores.close()


def _replayer(stores: Stores) -> Replayer:
    sender = Sender()
    queues = sender.error_queues
    intake = Intake(stores, settings(), sender)
    return Replayer(stores.documents, intake, queues.send_back, queues.withdraw)


def _chosen(
    stores: Stores, keys: Sequence[str], queue: str, exception: str, older_than: str
) -> list[DeadLetter]:
    if keys:
        return _named(stores, keys)
    if not (queue or exception or older_than):
        raise JustLensError("say which: keys, or --queue, --exception or --older-than")
    return _find(stores, queue, exception, older_than, ALL)


def _named(stores: Stores, keys: Sequence[str]) -> list[DeadLetter]:
    letters = []
    for key in keys:
        letter = stores.documents.dead_letter(key)
        if letter is None:
            raise JustLensError(f"nothing is parked under {key}")
        letters.append(letter)
    return letters


def _find(
    stores: Stores, queue: str, exception: str, older_than: str, limit: int
) -> list[DeadLetter]:
    return stores.documents.dead_letters(
        queue or None,
        limit=limit,
        exception=exception or None,
        before=time.time() - seconds(older_than) if older_than else None,
    )
