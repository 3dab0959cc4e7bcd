"""The lines of a log, each with what it is about: correlation id, task, image.

What is being worked at is a context variable: it follows a request into its threads and coroutines,
and no call has to hand it on.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

from pipeline.messages import CORRELATION_ID, new_correlation_id

LogFormat = Literal["text", "json"]
Facts = Mapping[str, str | int]

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
IMAGE_FIELDS = ("correlation_id", "docid", "product_id")
# Of a value from a message that is not ours.
LONGEST = 200

_ONE_WORD = re.compile(r"[\w.\-:/@]+", re.ASCII)
_NOTHING: Facts = MappingProxyType({})
_about: ContextVar[Facts] = ContextVar("about", default=_NOTHING)


def work_at(facts: Facts) -> None:
    """Say what this thread or coroutine works at from now on; each line will tell it."""
    _about.set(facts)


@contextmanager
def working_at(facts: Facts) -> Iterator[None]:
    """Say so for a while."""
    token = _about.set(facts)
    try:
        yield
    finally:
        _about.reset(token)


def correlation_id() -> str:
    """The id under which this thread or coroutine works, so that what it sends has it, too.

    Where it works under none, a new one.
    """
    given = str(_about.get().get("correlation_id", ""))
    return given if re.fullmatch(CORRELATION_ID, given) else new_correlation_id()


def facts_of_task(name: str, task_id: str, root_id: str, args: Any) -> Facts:
    """What a run of a task is about; what has no correlation id has that of its first task."""
    body = args[0] if isinstance(args, list | tuple) and args else None
    body = body if isinstance(body, dict) else {}
    told = {"correlation_id": root_id, "task": name, "task_id": task_id}
    told |= {field: body[field] for field in IMAGE_FIELDS if isinstance(body.get(field), str | int)}
    return {
        field: value if isinstance(value, int) else value[:LONGEST] for field, value in told.items()
    }


class TextLines(logging.Formatter):
    """Lines for people; what a line is about stands at its end as ``name=value``."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The first line; a traceback follows it."""
        facts = "".join(f" {name}={_one_word(value)}" for name, value in _about.get().items())
        return super().formatMessage(record) + facts


class JsonLines(logging.Formatter):
    """One JSON object in each line: time (UTC), level, logger, message, what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        """The whole record, its traceback included."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_about.get(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def lines(form: LogFormat) -> logging.Formatter:
    """What makes the lines of a log."""
    return JsonLines() if form == "json" else TextLines()


def tell_no_places() -> None:
    """Have this process's records say nothing of the line of code and the thread that wrote them.

    Our lines do not show them, and to find out walks the stack at each record: Python's Logging
    HOWTO, "Optimization".
    """
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def write_log(form: LogFormat, taken_over: Iterable[str] = ()) -> None:
    """Write the lines of this process to its standard error, from INFO on.

    Args:
        form: of the lines.
        taken_over: loggers that write by themselves until now.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(lines(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in taken_over:
        logger = logging.getLogger(name)
        # One without was told to be silent.
        if logger.handlers:
            logger.handlers.clear()
            logger.propagate = True


def _one_word(value: str | int) -> str:
    """A value that can be told from what stands beside it, whoever sent it."""
    text = str(value)
    return text if _ONE_WORD.fullmatch(text) else json.dumps(text)
