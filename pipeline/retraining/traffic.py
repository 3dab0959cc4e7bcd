"""Questions that were asked before, put to the champion and to the challenger once more.

A small directory gets enough comparisons for a verdict so, without waiting for its visitors.
"""

import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pyarrow.compute as pc

from pipeline.errors import JustLensError
from pipeline.feedback import Chosen
from pipeline.retraining.comparison import Comparison, Question
from pipeline.retraining.roll import HOUR, kept_hours, read_hour
from pipeline.retraining.shadow import Answer, Pair, ask, compared
from pipeline.stores import Stores

Item = TypeVar("Item")

Asked = Mapping[str, Sequence[str]]
"""Queries, those asked most often first, each with the businesses that it is known to fit."""

# Businesses in a question, as on the result page.
PAGE = 25


def of_events(chosen: Iterable[Chosen]) -> Asked:
    """Queries that something was shown for, with the businesses that were clicked on."""
    times: Counter[str] = Counter()
    fitting: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in chosen:
        times[one.query] += one.count
        if one.docid:
            fitting[one.query][one.docid] += one.count
    return {
        query: [docid for docid, _ in fitting[query].most_common()]
        for query, _ in times.most_common()
    }


def lately(stores: Stores, since: float) -> Asked:
    """Queries since a Unix time: what was typed, most often first, then what else was shown for.

    The hour in which the time lies counts as a whole.
    """
    shown = of_events(stores.events.queries(since))
    typed = Counter(one.query for one in stores.queries.recorded(since, time.time() + HOUR))
    for hour, key in kept_hours(stores):
        if hour + HOUR > since:
            rows = read_hour(stores, key)
            queries = rows.filter(pc.equal(rows["kind"], "query"))["query"]
            for one in queries.value_counts().to_pylist():
                typed[one["values"]] += one["counts"]
    order = dict.fromkeys([*(query for query, _ in typed.most_common()), *shown])
    return {query: shown.get(query, []) for query in order}


def of_file(path: Path) -> Asked:
    """The queries of a file: one in a line, or JSON Lines as ``justlens report`` writes them.

    Raises:
        JustLensError: it cannot be read, or a line has no query.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise JustLensError(f"{path} cannot be read: {error}") from error
    return of_events(
        _chosen(line, f"{path}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    )


def questions(asked: Asked, everyone: Sequence[str], most: int) -> Iterator[Question]:
    """At most so many questions, no two of them the same.

    Each query is asked of a page of businesses, those first that it is known to fit; then each of
    the next page, and so on, until all have been asked of ``everyone``.

    Args:
        asked: the queries.
        everyone: ids of businesses; see ``businesses_needed``.
        most: questions.
    """
    orders = {query: list(dict.fromkeys([*own, *everyone])) for query, own in asked.items()}
    longest = max(map(len, orders.values()), default=0)
    pages = (
        Question(tuple(page), query=query)
        for start in range(0, longest, PAGE)
        for query, order in orders.items()
        if (page := order[start : start + PAGE])
    )
    return islice(pages, most)


def businesses_needed(asked: Asked, most: int) -> int:
    """How many businesses so many questions are about at most."""
    return PAGE * math.ceil(most / max(len(asked), 1))


def replay(asked: Iterable[Question], champion: Answer, pair: Pair) -> Iterator[Comparison]:
    """Puts questions to both, one after the other.

    Raises:
        JustLensError: the champion fails, or answers without its model.
    """
    for number, question in enumerate(asked):
        # Whoever comes second finds the caches of the stores warm: they take turns.
        theirs = ask(pair, question) if number % 2 else None
        began = time.perf_counter()
        ours = champion(question)
        seconds = time.perf_counter() - began
        if ours.degraded:
            raise JustLensError(f"the champion does without its model: {ours.degraded[0]}")
        theirs = theirs or ask(pair, question)
        yield compared(pair, question, ours, seconds, theirs, is_replay=True)


def portions(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of so many items, the last one shorter."""
    left = iter(items)
    while portion := list(islice(left, size)):
        yield portion


def _chosen(line: str, place: str) -> Chosen:
    if not line.lstrip().startswith("{"):
        return Chosen(line.strip(), "", "", None, 1)
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise JustLensError(f"{place} is no JSON: {error}") from error
    query, docid, count = (fields.get(name) for name in ("query", "docid", "count"))
    if not isinstance(query, str) or not query.strip():
        raise JustLensError(f"{place} has no query")
    return Chosen(
        query.strip(),
        "",
        docid if isinstance(docid, str) else "",
        None,
        count if isinstance(count, int) else 1,
    )
