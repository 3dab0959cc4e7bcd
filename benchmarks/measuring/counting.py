"""The workers' application, with a count of what each run of a stage asks of its stores.

``celery -A measuring.counting worker`` is ``celery -A tasks worker`` that looks at the drivers:
what SQLite is told, what goes over the wire to MySQL, and which files are read and written. At its
end it writes one line of JSON for each run to the file that ``COUNTS`` names.
"""

import json
import os
import re
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pymysql
from celery.signals import task_postrun, task_prerun, worker_shutdown
from sqlalchemy import Pool, event

from pipeline.stores.objects_folder import FolderObjects
from tasks import app as app
from tasks import worker as worker

Step = dict[str, Any]

_here = threading.local()
_runs: list[dict[str, Any]] = []


@task_prerun.connect
def begin(task: Any, **_: Any) -> None:
    """From here on this thread's steps belong to the run."""
    _here.steps = []


@task_postrun.connect
def end(task: Any, state: str, **_: Any) -> None:
    """The run's steps are complete."""
    _runs.append({"stage": task.name, "state": state, "steps": _here.steps})
    del _here.steps


@worker_shutdown.connect
def write(**_: Any) -> None:
    """Leave all of it."""
    with Path(os.environ["COUNTS"]).open("a") as file:
        file.writelines(json.dumps(run) + "\n" for run in _runs)


def _note(**step: Any) -> None:
    if (steps := getattr(_here, "steps", None)) is not None:
        steps.append(step)


def _note_result(size: int) -> None:
    if steps := getattr(_here, "steps", None):
        steps[-1]["answer"] = steps[-1].get("answer", 0) + size


_TEXT = re.compile(r"'(?:[^']|'')*'")


def _length(statement: str) -> int:
    """Of what SQLite is given: it spells a parameter out wherever the statement names it."""
    texts = _TEXT.findall(statement)
    return len(statement) - sum(map(len, texts)) + sum(map(len, set(texts)))


def _size(row: Any) -> int:
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)


@event.listens_for(Pool, "connect")
def _watch(connection: Any, _record: Any) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    (_, _, path), *_ = connection.execute("PRAGMA database_list")
    store = Path(path).stem

    def told(statement: str) -> None:
        _note(store=store, verb=statement.split(None, 1)[0].upper(), size=_length(statement))

    def read(_cursor: sqlite3.Cursor, row: Any) -> Any:
        _note_result(_size(row))
        return row

    connection.set_trace_callback(told)
    connection.row_factory = read


_send = pymysql.connections.Connection._execute_command
_read = pymysql.connections.Connection._read_query_result


def _sent(connection: Any, command: int, statement: Any) -> Any:
    text = statement if isinstance(statement, str) else bytes(statement).decode(errors="replace")
    verb = text.split(None, 1)[0].upper() if text.strip() else "PING"
    # What a server commits by itself.
    alone = connection.get_autocommit()
    _note(store="server", verb=verb, size=len(text), alone=alone)
    return _send(connection, command, statement)


def _answered(connection: Any, unbuffered: bool = False) -> Any:
    found = _read(connection, unbuffered)
    rows = getattr(connection._result, "rows", None)
    if rows:
        _note_result(sum(_size(row) for row in rows))
    return found


def _counted(verb: str) -> None:
    call = getattr(FolderObjects, verb.lower())

    def counted(store: Any, key: str, content: bytes = b"") -> Any:
        _note(store="objects", verb=verb, size=len(content))
        found = call(store, key, content) if verb == "PUT" else call(store, key)
        if isinstance(found, bytes):
            _note_result(len(found))
        return found

    setattr(FolderObjects, verb.lower(), counted)


pymysql.connections.Connection._execute_command = _sent
pymysql.connections.Connection._read_query_result = _answered
for _verb in ("PUT", "GET", "EXISTS"):
    _counted(_verb)
