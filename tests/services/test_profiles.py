"""The two profiles: one code, one answer."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.services

COMMAND = [str(Path(sys.executable).parent / "justlens")]
LIMIT = 240


def run(*arguments: str, **environment: str) -> dict[str, Any]:
    """What a command printed as JSON."""
    done = subprocess.run(
        [*COMMAND, *arguments, "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def rounded(value: Any) -> Any:
    """The same with numbers as near as another database's arithmetic keeps them."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: rounded(entry) for name, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.timeout(2 * LIMIT)
def test_real_photos_rank_alike_on_servers_and_embedded(
    tmp_path: Path, services_environment: dict[str, str]
) -> None:
    alone = run("demo", JUSTLENS_DATA_DIR=str(tmp_path / "alone"))
    served = run("demo", JUSTLENS_DATA_DIR=str(tmp_path / "served"), **services_environment)
    assert rounded(served["businesses"]) == rounded(alone["businesses"])
    logs = {path.stem for path in (tmp_path / "served" / "demo" / "logs").glob("worker-*.log")}
    assert logs == {"worker-gpu", "worker-cpu", "worker-io"}


def test_what_is_set_up_and_answers_is_reported_with_version_and_latency(
    tmp_path: Path, services_environment: dict[str, str]
) -> None:
    environment = {**services_environment, "JUSTLENS_DATA_DIR": str(tmp_path)}
    assert all(part["ok"] for part in run("setup", **environment).values())
    findings = run("doctor", **environment)
    assert all(finding["ok"] for finding in findings.values())
    for part, product in {
        "documents": "MongoDB",
        "objects": "S3",
        "vectors": "Milvus",
        "broker": "RabbitMQ",
    }.items():
        assert findings[part]["detail"].startswith(product)
        assert findings[part]["latency_ms"] > 0


@pytest.mark.parametrize(
    ("setting", "part", "address"),
    [
        ("BROKER_URL", "broker", "amqp://guest:secret@127.0.0.1:1//"),
        ("RESULT_URL", "joins", "redis://:secret@127.0.0.1:1/0"),
        ("DOCUMENTS_URL", "documents", "mongodb://me:secret@127.0.0.1:1/justlens"),
        ("RELATIONAL_URL", "directory", "mysql+pymysql://me:secret@127.0.0.1:1/justlens"),
        ("OBJECTS_URL", "objects", "s3+http://me:secret@127.0.0.1:1/justlens"),
        ("VECTORS_URL", "vectors", "milvus://me:secret@127.0.0.1:1/default"),
        ("EVENTS_URL", "events", "mysql+pymysql://me:secret@127.0.0.1:1/justlens"),
    ],
)
def test_a_server_that_is_missing_is_named_with_what_to_do(
    tmp_path: Path, setting: str, part: str, address: str
) -> None:
    environment = {f"JUSTLENS_{setting}": address, "JUSTLENS_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [*COMMAND, "doctor", "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 1
    finding = json.loads(done.stdout)[part]
    assert not finding["ok"]
    assert f"JUSTLENS_{setting}" in finding["advice"]
    assert "secret" not in done.stdout + done.stderr
