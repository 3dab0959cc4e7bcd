"""Passwords and keys of servers that do not answer are told nowhere."""

import io
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from celery import Celery
from fastapi.testclient import TestClient

from api.main import create
from api.wiring import Services
from models.errors import ModelError
from models.openai_describer import OpenAIDescriber
from models.reader import ReadText
from pipeline.dead_letters import Publisher, letter_from
from pipeline.errors import JustLensError
from pipeline.joins import join_backend
from pipeline.settings import Settings
from pipeline.stores import open_stores
from tests.services.servers import free_port

SECRET = "s3cr3t-that-nobody-may-see"
LIMIT = 60.0


@pytest.fixture(scope="module")
def addresses() -> dict[str, str]:
    """Of servers that nobody runs, by the names of their settings."""
    port = free_port()
    here = f"user:{SECRET}@127.0.0.1:{port}"
    mongo = "serverSelectionTimeoutMS=200&connectTimeoutMS=200"
    return {
        "broker_url": f"amqp://{here}//",
        "result_url": f"redis://:{SECRET}@127.0.0.1:{port}/0",
        "documents_url": f"mongodb://{here}/justlens?{mongo}",
        "relational_url": f"mysql+pymysql://{here}/justlens?connect_timeout=1",
        "objects_url": f"s3+http://{here}/justlens",
        "vectors_url": f"milvus://{here}/default",
        "rate_limit_url": f"redis://:{SECRET}@127.0.0.1:{port}/2",
        "session_secret": SECRET,
    }


@pytest.fixture
def environment(addresses: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The same for another process."""
    chosen = {f"JUSTLENS_{name.upper()}": value for name, value in addresses.items()}
    return {**os.environ, **chosen, "JUSTLENS_DATA_DIR": str(tmp_path)}


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> io.StringIO:
    """Everything that is logged, tracebacks included."""
    caplog.set_level(logging.DEBUG)
    return caplog.handler.stream


CALLS: dict[str, Callable[[Services], object]] = {
    "documents": lambda services: services.stores.documents.image("shop", 1),
    "directory": lambda services: services.stores.directory.categories(["shop"]),
    "objects": lambda services: services.stores.objects.get("originals/ab/abc.jpg"),
    "vectors": lambda services: services.stores.vectors.known_images("picture", [("shop", 1)]),
    "events": lambda services: services.stores.events.forget(0.0),
    "keys": lambda services: services.stores.keys.find("abc"),
    "broker": lambda services: services.broker.backlog(),
}


@pytest.mark.parametrize("part", CALLS)
def test_no_dead_letter_and_no_log_holds_the_password_of_a_store(
    addresses: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    told: io.StringIO,
) -> None:
    chosen = Settings(data_dir=tmp_path, open_to="all", **addresses)
    monkeypatch.setattr("pipeline.settings.settings", lambda: chosen)
    app = Celery("test", broker=chosen.broker_url)
    services = Services(chosen)
    with pytest.raises(JustLensError) as raised:
        if part == "broker":
            Publisher(app)("error.image_jobs", {})
        else:
            CALLS[part](services)
    letter = letter_from(queue="q", task="t", task_id="1", error=raised.value, args=[])
    assert str(free := letter.message) and SECRET not in letter.model_dump_json(), free
    assert SECRET not in told.getvalue()


def test_no_answer_holds_it(addresses: dict[str, str], tmp_path: Path, told: io.StringIO) -> None:
    services = Services(Settings(data_dir=tmp_path, open_to="all", **addresses))
    with TestClient(create(lambda: services), raise_server_exceptions=False) as client:
        ready = client.get("/ready")
        answers = [
            ready,
            client.get("/v1/images/shop/1"),
            client.get("/v1/operations"),
            client.get("/v1/suggest?q=coffee"),
            client.get("/metrics", headers={"Authorization": "Bearer jl_abc"}),
            client.get("/objects/originals/ab/abc.jpg"),
        ]
    assert ready.status_code == 503
    assert {"documents", "directory", "objects", "vectors"} <= {
        name for name, said in ready.json()["checks"].items() if said != "ok"
    }
    for answer in answers:
        assert SECRET not in answer.text, answer.url
        assert "Traceback" not in answer.text
    assert SECRET not in told.getvalue()


@pytest.mark.parametrize("options", [[], ["--json"], ["--consistency"]], ids=str)
def test_what_the_doctor_says_does_not_hold_it(
    environment: dict[str, str], options: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "doctor", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "127.0.0.1" in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_a_worker_that_waits_for_its_broker_does_not_tell_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-Q", "image_jobs"]
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [*command, "-l", "DEBUG"], env=environment, stdout=file, stderr=file
        ) as process,
    ):
        try:
            deadline = time.monotonic() + LIMIT
            while "no broker yet" not in log.read_text() and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            process.kill()
    assert "no broker yet" in log.read_text()
    assert SECRET not in log.read_text()


def test_a_worker_shows_where_chords_are_joined_without_it(addresses: dict[str, str]) -> None:
    app = Celery("test", backend=join_backend(addresses["result_url"]))
    assert SECRET not in app.backend.as_uri()


def test_the_describers_key_is_not_told(told: io.StringIO) -> None:
    describer = OpenAIDescriber(
        weights=Path(),
        threads=1,
        url=f"http://127.0.0.1:{free_port()}/v1",
        model="m",
        key=SECRET,
        deadline=1.0,
    )
    with pytest.raises(ModelError) as raised:
        describer(
            np.zeros((32, 32, 3), np.uint8), labels=(), text=ReadText(), business="", categories=()
        )
    letter = letter_from(queue="q", task="t", task_id="1", error=raised.value, args=[])
    assert SECRET not in letter.model_dump_json()
    assert SECRET not in told.getvalue()


def test_settings_are_shown_without_secrets(addresses: dict[str, str]) -> None:
    assert SECRET not in str(Settings(session_secret=SECRET, openai_key=SECRET))
    assert open_stores(Settings(**addresses))
