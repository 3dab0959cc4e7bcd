"""The graph as one would write it by hand: Celery, its drivers, and nothing else.

Six tasks in a chain, a chord and a chain, with the message of ours. What a task asks of its stores
was counted in a run of ours, and is asked here again, step by step: statements of that size in as
many transactions, answers of that size, files of that size, as durable. ``BY_HAND`` names the file
that says where and what.
"""

import json
import os
import sqlite3
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pymysql
from celery import Celery, chain, chord
from celery.canvas import Signature
from kombu import Exchange, Queue
from sqlalchemy import make_url

from pipeline.joins import DeafBackend, join_backend

Step = dict[str, Any]

# Queues of its own on the same broker.
OWN = "by_hand."

ROWS = """CREATE TABLE IF NOT EXISTS answers (size INTEGER PRIMARY KEY, body {blob});
CREATE TABLE IF NOT EXISTS results (step INTEGER, image INTEGER, body {blob},
    PRIMARY KEY (step, image))"""
ANSWER = "SELECT body FROM answers WHERE size = {}"
DELETE = "DELETE FROM results WHERE step = {} AND image = {}"


class SqliteFile:
    """A database file, with a connection to each thread and one writer at a time."""

    write = "INSERT INTO results VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = threading.local()
        self._turn = threading.Lock()

    def prepare(self, sizes: Sequence[int]) -> None:
        """Make the tables, and an answer of each size."""
        for statement in ROWS.format(blob="BLOB").split(";"):
            self._connection.execute(statement)
        for size in sizes:
            row = (size, "x" * size)
            self._connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", row)

    @property
    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._thread, "connection"):
            self._thread.connection = connection = sqlite3.connect(
                self._path, isolation_level=None, timeout=30
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        return self._thread.connection

    def transaction(self, steps: Sequence[Step], image: int) -> None:
        """One transaction, begun as ours are; what only reads once begins none."""
        connection = self._connection
        if any(step["verb"] not in ("BEGIN", "SELECT", "COMMIT") for step in steps):
            with self._turn:
                connection.execute("BEGIN IMMEDIATE")
                self._run(connection, steps, image)
                connection.execute("COMMIT")
        elif len(steps) == 1:
            self._run(connection, steps, image)
        else:
            connection.execute("BEGIN")
            self._run(connection, steps, image)
            connection.execute("COMMIT")

    def _run(self, connection: sqlite3.Connection, steps: Sequence[Step], image: int) -> None:
        for step in steps:
            match step["verb"]:
                case "SELECT":
                    connection.execute(ANSWER.format("?"), (step["answer"],)).fetchall()
                case "INSERT" | "UPDATE":
                    row = (step["number"], image, "x" * step["size"])
                    connection.execute(self.write, row)
                case "DELETE":
                    connection.execute(DELETE.format("?", "?"), (step["number"], image))


class Server:
    """MySQL or MariaDB, with two connections to each thread: for transactions and for the rest."""

    write = "INSERT INTO results VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE body = VALUES(body)"

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._thread = threading.local()

    def prepare(self, sizes: Sequence[int]) -> None:
        """Make the tables, and an answer of each size."""
        with self._transactions.cursor() as cursor:
            for statement in ROWS.format(blob="MEDIUMTEXT").split(";"):
                cursor.execute(statement)
            for size in sizes:
                cursor.execute("REPLACE INTO answers VALUES (%s, %s)", (size, "x" * size))
        self._transactions.commit()

    @property
    def _transactions(self) -> Any:
        if not hasattr(self._thread, "transactions"):
            self._thread.transactions = self._connect(autocommit=False)
        return self._thread.transactions

    @property
    def _alone(self) -> Any:
        if not hasattr(self._thread, "alone"):
            self._thread.alone = self._connect(autocommit=True)
        return self._thread.alone

    def _connect(self, *, autocommit: bool) -> Any:
        url = self._url
        return pymysql.connect(
            host=url.host,
            port=url.port or 3306,
            user=url.username,
            password=url.password or "",
            database=url.database,
            charset="utf8mb4",
            autocommit=autocommit,
            init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        )

    def transaction(self, steps: Sequence[Step], image: int) -> None:
        """One transaction; a single statement is one by itself."""
        is_alone = len(steps) == 1
        connection = self._alone if is_alone else self._transactions
        with connection.cursor() as cursor:
            for step in steps:
                match step["verb"]:
                    case "SELECT":
                        cursor.execute(ANSWER.format("%s"), (step["answer"],))
                        cursor.fetchall()
                    case "INSERT" | "UPDATE":
                        cursor.execute(self.write, (step["number"], image, "x" * step["size"]))
                    case "DELETE":
                        cursor.execute(DELETE.format("%s", "%s"), (step["number"], image))
        if not is_alone:
            connection.commit()


class Folder:
    """Objects as files, each whole or absent, and on the disk once written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def prepare(self, sizes: Sequence[int]) -> None:
        """Make an answer of each size."""
        self._path.mkdir(parents=True, exist_ok=True)
        for size in sizes:
            (self._path / str(size)).write_bytes(b"x" * size)

    def transaction(self, steps: Sequence[Step], image: int) -> None:
        """One request."""
        (step,) = steps
        match step["verb"]:
            case "GET":
                (self._path / str(step["answer"])).read_bytes()
            case "EXISTS":
                (self._path / f"{step['number']}-{image}").is_file()
            case "PUT":
                self._put(f"{step['number']}-{image}", b"x" * step["size"])

    def _put(self, name: str, content: bytes) -> None:
        incoming = self._path / uuid.uuid4().hex
        with incoming.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        incoming.replace(self._path / name)
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


KINDS = {"sqlite": SqliteFile, "server": Server, "folder": Folder}


def open_stores(plan: dict[str, Any]) -> dict[str, Any]:
    """The stores of a plan, by their names."""
    return {
        name: KINDS[kind](where if kind == "server" else Path(where))
        for name, (kind, where) in plan["stores"].items()
    }


plan = json.loads(Path(os.environ["BY_HAND"]).read_text())
stores = open_stores(plan)
on_rabbitmq = plan["broker"].startswith("amqp")

app = Celery("by_hand")
app.conf.update(
    broker_url=plan["broker"],
    result_backend=join_backend(plan["results"], DeafBackend),
    accept_content=["json"],
    task_serializer="json",
    result_serializer="json",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_detect_quorum_queues=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options=(
        {"confirm_publish": True}
        if on_rabbitmq
        else {"visibility_timeout": 7 * 24 * 3600, "queue_order_strategy": "priority"}
    ),
    task_queues=[
        Queue(
            OWN + name,
            Exchange("by_hand", type="topic"),
            routing_key=OWN + name,
            queue_arguments={"x-queue-type": "quorum"} if on_rabbitmq else None,
        )
        for name in plan["stages"]
    ],
    task_create_missing_queues=False,
)


def _task(name: str, transactions: Sequence[tuple[str, Sequence[Step]]]) -> Any:
    @app.task(name=name)
    def stage(message: dict[str, Any]) -> dict[str, Any]:
        for store, steps in transactions:
            stores[store].transaction(steps, message["product_id"])
        return {"outcome": "done", "detail": "enhanced: smaller than 128x96"}

    return stage


stages = {name: _task(name, transactions) for name, transactions in plan["stages"].items()}


def canvas(message: dict[str, Any]) -> Signature:
    """The graph of one image."""

    def task(name: str) -> Signature:
        return stages[name].si(message).set(queue=OWN + name)

    enhance, update, tag, describe, score, alt_text = map(task, plan["stages"])
    return chain(enhance, update, chord([tag, describe], score), alt_text)
