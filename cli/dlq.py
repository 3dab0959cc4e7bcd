"""``justlens dlq``: what was parked, and what to do about it."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from rich.table import Table

from cli.ages import seconds
from cli.output import out, print_json
from pipeline.errors import JustLensError
from pipeline.failures import treatment
from pipeline.graph import Sender
from pipeline.ingest import Intake
from pipeline.records import DeadLetter
from pipeline.replay import Replayer
from pipeline.settings import settings
from pipeline.stores import Stores, open_stores
from pipeline.stores.documents import WantedLetters

ALL = 1_000_000


@dataclass(frozen=True)
class Filters:
    """Which dead letters are meant, as the options say it; empty: any.

    Attributes:
        newer_than: an age, such as 15m.
        older_than: the same.
    """

    queue: str = ""
    exception: str = ""
    docid: str = ""
    newer_than: str = ""
    older_than: str = ""

    def wanted(self) -> WantedLetters:
        """The same as the document store takes it."""
        now = time.time()
        return {
            "queue": self.queue or None,
            "exception": self.exception or None,
            "docid": self.docid or None,
            "after": now - seconds(self.newer_than) if self.newer_than else None,
            "before": now - seconds(self.older_than) if self.older_than else None,
        }


def show_list(filters: Filters, *, limit: int, json_output: bool) -> None:
    """Dead letters, newest first, and how many there are by their causes."""
    with closing(open_stores(settings())) as stores:
        letters = stores.documents.dead_letters(limit, **filters.wanted())
        counts = stores.documents.count_dead_letters(**filters.wanted())
    if json_output:
        print_json([letter.model_dump(mode="json", exclude={"traceback"}) for letter in letters])
        return
    if not letters:
        out.print("Nothing is parked." if filters == Filters() else "None of them fits.")
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
    out.print(table)
    for (queue, exception), count in sorted(counts.items(), key=lambda cause: -cause[1]):
        out.print(f"{count:6} {exception} in {queue}", highlight=False)
        out.print(f"{'':6} {treatment(exception).advice}", highlight=False)


def show_one(key: str, *, json_output: bool) -> None:
    """One dead letter, whole."""
    with closing(open_stores(settings())) as stores:
        (letter,) = _named(stores, [key])
    if json_output:
        print_json(letter.model_dump(mode="json"))
        return
    out.print(f"[bold]advice[/]: {treatment(letter.exception).advice}", highlight=False)
    for name, value in letter.model_dump(mode="json").items():
        out.print(f"[bold]{name}[/]: {value}", highlight=False, markup=name != "traceback")


def replay(keys: Sequence[str], filters: Filters, *, json_output: bool) -> None:
    """Send dead letters again: those named, or all that fit the filters."""
    with closing(open_stores(settings())) as stores:
        letters = _chosen(stores, keys, filters)
        results = _replayer(stores).replay(letters)
    if json_output:
        print_json([vars(result) for result in results])
        return
    for result in results:
        out.print(f"{result.outcome:10} {result.key} {result.detail}", highlight=False)
    sent = sum(result.outcome == "sent" for result in results)
    out.print(f"{sent} of {len(results)} sent again.")


def drop(keys: Sequence[str], filters: Filters, *, json_output: bool) -> None:
    """Forget dead letters: those named, or all that fit the filters."""
    with closing(open_stores(settings())) as stores:
        letters = _chosen(stores, keys, filters)
        count = _replayer(stores).drop(letters)
    if json_output:
        print_json({"dropped": count})
    else:
        out.print(f"{count} dropped.")


def _replayer(stores: Stores) -> Replayer:
    sender = Sender()
    queues = sender.error_queues
    intake = Intake(stores, settings(), sender)
    return Replayer(stores.documents, intake, queues.send_back, queues.withdraw)


def _chosen(stores: Stores, keys: Sequence[str], filters: Filters) -> list[DeadLetter]:
    if keys:
        return _named(stores, keys)
    if filters == Filters():
        raise JustLensError(
            "say which: keys, or --queue, --exception, --docid, --newer-than or --older-than"
        )
    return stores.documents.dead_letters(ALL, **filters.wanted())


def _named(stores: Stores, keys: Sequence[str]) -> list[DeadLetter]:
    letters = []
    for key in keys:
        letter = stores.documents.dead_letter(key)
        if letter is None:
            raise JustLensError(f"nothing is parked under {key}")
        letters.append(letter)
    return letters
