"""Reads what a text model is trained and measured on, each kind in its usual format."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from models.text_training.data import Example, Pair, Retrieval, as_retrieval
from pipeline.errors import JustLensError

STS_LARGEST = 5.0
"""Scores of the STS benchmark go from 0 to 5."""


class UnreadableDataset(JustLensError):
    """A dataset is absent or not in its format; the message names the file and the line."""


def read_examples(path: Path) -> list[Example]:
    """Triplets as JSON Lines: `anchor` and `positive`, and maybe `negative`, `weight`, `origin`;
    other fields are left alone."""
    found = []
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            _refuse(path, number, f"not JSON: {error}")
        if not isinstance(row, dict):
            _refuse(path, number, "not an object")
        found.append(
            Example(
                anchor=_text(path, number, row, "anchor"),
                positive=_text(path, number, row, "positive"),
                negative=_text(path, number, row, "negative") if row.get("negative") else None,
                weight=_number(path, number, row.get("weight", 1.0), above=0),
                origin=str(row.get("origin") or path.stem),
            )
        )
    if not found:
        raise UnreadableDataset(f"{path} holds no triplet")
    return found


def read_texts(path: Path) -> dict[str, float]:
    """Texts and how often each was seen, as JSON Lines: `text`, `count`."""
    found: dict[str, float] = {}
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            _refuse(path, number, f"not JSON: {error}")
        if not isinstance(row, dict):
            _refuse(path, number, "not an object")
        text = _text(path, number, row, "text")
        count = _number(path, number, row.get("count", 1), above=0)
        found[text] = found.get(text, 0.0) + count
    return found


def read_sts(path: Path) -> list[Pair]:
    """The STS benchmark as CSV: two sentences and a score of 0 to 5; scores become 0..1.

    A first line whose third field is no number is taken for a header.
    """
    found = []
    for number, row in _rows(path, ","):
        if len(row) != 3:
            _refuse(path, number, f"{len(row)} fields, not sentence, sentence, score")
        try:
            score = float(row[2])
        except ValueError:
            if number == 1:
                continue
            _refuse(path, number, f"{row[2]!r} is no score")
        if not 0 <= score <= STS_LARGEST:
            _refuse(path, number, f"the score {score} is not between 0 and {STS_LARGEST:g}")
        found.append(Pair(row[0], row[1], score / STS_LARGEST))
    if not found:
        raise UnreadableDataset(f"{path} holds no pair of sentences")
    return found


def read_quora(path: Path) -> list[Pair]:
    """Quora's question pairs as TSV with a header: `question1`, `question2`, `is_duplicate`."""
    rows = _rows(path, "\t")
    wanted = ("question1", "question2", "is_duplicate")
    _, header = next(rows, (1, []))
    if missing := [name for name in wanted if name not in header]:
        _refuse(path, 1, f"no column {', '.join(missing)}")
    columns = [header.index(name) for name in wanted]
    found = []
    for number, row in rows:
        if len(row) != len(header):
            _refuse(path, number, f"{len(row)} fields, not {len(header)}")
        first, second, same = (row[column] for column in columns)
        if same not in ("0", "1"):
            _refuse(path, number, f"is_duplicate is {same!r}, not 0 or 1")
        found.append(Pair(first, second, float(same)))
    if not found:
        raise UnreadableDataset(f"{path} holds no pair of questions")
    return found


def read_retrieval(path: Path) -> Retrieval:
    """What is searched for: a file of triplets, or a folder in MS MARCO's format."""
    return read_msmarco(path) if path.is_dir() else as_retrieval(read_examples(path))


def read_msmarco(folder: Path) -> Retrieval:
    """`queries.tsv` (id, text), `collection.tsv` (id, text) and `qrels.tsv` (query, 0, passage,
    relevance) of a folder; queries without a right passage in the collection are left out."""
    queries = _by_id(folder / "queries.tsv")
    passages = _by_id(folder / "collection.tsv")
    positions = {key: at for at, key in enumerate(passages)}
    relevant: dict[str, set[int]] = {}
    path = folder / "qrels.tsv"
    for number, line in _lines(path):
        row = line.split()
        if len(row) != 4:
            _refuse(path, number, f"{len(row)} fields, not query, 0, passage, relevance")
        query, _, passage, relevance = row
        if query not in queries:
            _refuse(path, number, f"queries.tsv has no query {query}")
        if relevance not in ("0", "-1") and passage in positions:
            relevant.setdefault(query, set()).add(positions[passage])
    if not relevant:
        raise UnreadableDataset(f"{path} names no passage of collection.tsv")
    return Retrieval(
        tuple(queries[key] for key in relevant),
        tuple(passages.values()),
        tuple(frozenset(found) for found in relevant.values()),
    )


def _by_id(path: Path) -> dict[str, str]:
    found = {}
    for number, row in _rows(path, "\t", quoting=csv.QUOTE_NONE):
        if len(row) != 2:
            _refuse(path, number, f"{len(row)} fields, not id and text")
        found[row[0]] = row[1]
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.rstrip("\n")
    except OSError as error:
        raise UnreadableDataset(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableDataset(f"{path} is not UTF-8: {error}") from error


def _rows(
    path: Path, delimiter: str, quoting: Any = csv.QUOTE_MINIMAL
) -> Iterator[tuple[int, Sequence[str]]]:
    """The rows that are not blank, with the numbers of the lines on which they end."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, quoting=quoting)
            try:
                for row in reader:
                    if row:
                        yield reader.line_num, row
            except csv.Error as error:
                _refuse(path, reader.line_num, str(error))
    except OSError as error:
        raise UnreadableDataset(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableDataset(f"{path} is not UTF-8: {error}") from error


def _text(path: Path, number: int, row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        _refuse(path, number, f"{name} is {value!r}, not a text")
    return value


def _number(path: Path, number: int, value: Any, *, above: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > above:
        _refuse(path, number, f"{value!r} is not a number above {above:g}")
    return float(value)


def _refuse(path: Path, number: int, reason: str) -> NoReturn:
    raise UnreadableDataset(f"{path}, line {number}: {reason}")
