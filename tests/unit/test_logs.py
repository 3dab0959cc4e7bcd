"""What lines of a log tell of what they are about."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from celery import Celery
from fastapi.testclient import TestClient

from api.wiring import Services
from pipeline.logs import JsonLines, TextLines, correlation_id, facts_of_task, working_at
from pipeline.queues import Stage
from tests.shops import Outbox
from tests.unit.test_api_ingest import JOB, push, upload
from tests.unit.test_parking import BODY

log = logging.getLogger("justlens.test")


def record(message: str = "it went well", *, error: bool = False) -> logging.LogRecord:
    try:
        raise ValueError("of no use")
    except ValueError:
        about = sys.exc_info() if error else None
    return logging.LogRecord("tasks.tag", logging.INFO, __file__, 1, message, (), about)


@pytest.fixture
def app() -> Iterator[Celery]:
    """An application whose tasks are run here, by Celery's own tracer."""
    app = Celery("logs", set_as_current=False)
    app.conf.update(task_always_eager=True, broker_url="memory://")
    yield app
    app.close()


def test_a_line_of_text_ends_with_what_it_is_about_and_a_traceback_follows() -> None:
    with working_at({"correlation_id": "c1", "product_id": 7}):
        line, trace = TextLines().format(record(error=True)).split("\n", 1)
    assert line.endswith(" INFO tasks.tag: it went well correlation_id=c1 product_id=7")
    assert trace.startswith("Traceback")


def test_a_line_of_json_is_an_object_with_the_same() -> None:
    with working_at({"correlation_id": "c1", "product_id": 7}):
        text = JsonLines().format(record("it\nwent well", error=True))
    assert "\n" not in text
    line = json.loads(text)
    assert line.pop("time").endswith("+00:00")
    assert line.pop("exception").endswith("ValueError: of no use")
    assert line == {
        "level": "INFO",
        "logger": "tasks.tag",
        "message": "it\nwent well",
        "correlation_id": "c1",
        "product_id": 7,
    }


def test_a_line_about_nothing_tells_nothing() -> None:
    assert TextLines().format(record()).endswith("INFO tasks.tag: it went well")
    assert json.loads(JsonLines().format(record())).keys() == {
        "time",
        "level",
        "logger",
        "message",
    }


def test_an_id_that_a_message_made_up_cannot_pass_for_a_line() -> None:
    body = {"correlation_id": "c1\n2026-01-01 ERROR all is lost", "docid": "x" * 10_000}
    with working_at(facts_of_task("made up", "t1", "t1", [body])):
        line = TextLines().format(record())
    assert "\n" not in line
    assert len(line) < 1000
    assert 'task="made up"' in line


def test_what_is_sent_has_the_id_that_is_worked_under_and_else_a_new_one() -> None:
    assert correlation_id() != correlation_id()
    with working_at({"correlation_id": "import-7"}):
        assert correlation_id() == "import-7"
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(copy_context().run, correlation_id).result() == "import-7"
    with working_at({"correlation_id": "no id\n"}):
        assert correlation_id().isalnum()


def test_every_line_of_a_run_tells_the_run_and_its_image_and_none_after_it(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(name=Stage.TAG.value)
    def tag(body: dict[str, Any]) -> None:
        log.warning("half way")

    caplog.handler.setFormatter(TextLines())
    done = tag.apply(args=[BODY])
    log.warning("afterwards")
    half, after = caplog.text.splitlines()
    assert half.endswith(
        "half way correlation_id=c1 task=image_tag_process"
        f" task_id={done.id} docid=shop product_id=7"
    )
    assert after.endswith("afterwards")


def test_a_run_that_is_about_no_image_is_followed_by_its_own_id(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(name="reconcile")
    def reconcile() -> None:
        log.warning("half way")

    caplog.handler.setFormatter(TextLines())
    done = reconcile.apply()
    assert f"half way correlation_id={done.id} task=reconcile" in caplog.text


@pytest.mark.parametrize("header", ["X-Correlation-ID", "X-Request-ID"])
def test_the_id_that_a_client_names_is_on_answer_log_row_and_message(
    writer: TestClient, outbox: Outbox, caplog: pytest.LogCaptureFixture, header: str
) -> None:
    caplog.set_level(logging.INFO)
    caplog.handler.setFormatter(TextLines())
    writer.headers[header] = "import-7.a"
    answer = upload(writer)
    assert answer.headers["x-correlation-id"] == "import-7.a"
    assert answer.json()["correlation_id"] == "import-7.a"
    ((image, _),) = outbox.sent
    assert image.correlation_id == "import-7.a"
    (line,) = [line for line in caplog.text.splitlines() if "queued cafe/900" in line]
    assert line.endswith(" correlation_id=import-7.a")


def test_without_an_id_each_request_is_given_one(writer: TestClient) -> None:
    answers = [writer.get("/health").headers["x-correlation-id"] for _ in range(2)]
    assert len({*answers}) == 2
    assert all(len(one) == 32 for one in answers)


@pytest.mark.parametrize("given", ["two words", "x" * 65, "-x", "", "a;b"])
def test_an_id_that_would_not_fit_into_a_message_is_not_taken(
    writer: TestClient, given: str
) -> None:
    answer = writer.get("/health", headers={"X-Correlation-ID": given, "X-Request-ID": "proxy-1"})
    assert answer.headers["x-correlation-id"] == "proxy-1"


def test_a_known_image_that_is_sent_again_goes_under_the_new_request(
    writer: TestClient, outbox: Outbox, own_shops: Services
) -> None:
    push(writer, "image_jobs", JOB)
    writer.headers["X-Correlation-ID"] = "again-1"
    answer = push(writer, Stage.TAG.value, {**JOB, "product_url": ""})
    assert answer.json()["correlation_id"] == "again-1"
    assert outbox.sent[-1][0].correlation_id == "again-1"
    row = own_shops.stores.documents.image("cafe", 900)
    assert row is not None and row.correlation_id == "again-1"


def test_a_failed_photo_that_is_handed_in_again_goes_under_the_new_request(
    writer: TestClient, outbox: Outbox, own_shops: Services
) -> None:
    upload(writer)
    own_shops.stores.documents.update_image("cafe", 900, 1, {"state": "failed"})
    writer.headers["X-Correlation-ID"] = "again-1"
    upload(writer)
    assert outbox.sent[-1][0].correlation_id == "again-1"


def test_one_log_takes_the_lines_of_the_server_over() -> None:
    program = """
import logging
from logging.config import dictConfig
from uvicorn.config import LOGGING_CONFIG
from api.wiring import UVICORN
from pipeline.logs import write_log
dictConfig(LOGGING_CONFIG)
silent = logging.getLogger("uvicorn.access")
silent.handlers, silent.propagate = [], False
write_log("json", UVICORN)
logging.getLogger("uvicorn.error").info("started")
logging.getLogger("pipeline.ingest").info("queued")
silent.info("not told")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    told = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    assert told == ["started", "queued"], done.stderr


def test_a_worker_does_not_look_for_the_place_of_each_line() -> None:
    program = """
import logging
import tasks.logs
from tasks import app
app.log.setup(loglevel="INFO", logfile=None)
record = logging.getLogger("tasks").makeRecord("tasks", logging.INFO, "", 0, "", (), None)
logging.getLogger("tasks").info("thread %s, place known: %s", record.thread, logging._srcfile)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    told = [line.partition(": ")[2] for line in done.stderr.splitlines()]
    assert told == ["thread None, place known: None"], done.stderr


@pytest.mark.parametrize(("level", "told"), [("INFO", ["ended"]), ("DEBUG", ["arrived", "ended"])])
def test_a_worker_tells_of_arrivals_only_where_it_tells_everything(
    level: str, told: list[str]
) -> None:
    program = f"""
import logging
from tasks import app
app.log.setup(loglevel="{level}", logfile=None)
logging.getLogger("celery.worker.strategy").info("arrived")
logging.getLogger("celery.app.trace").info("ended")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    lines = [line.partition(": ")[2] for line in done.stderr.splitlines()]
    assert [line for line in lines if line in ("arrived", "ended")] == told, done.stderr
