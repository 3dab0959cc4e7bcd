"""The two profiles: one code, one answer."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cli import main
from tests.processes import Command

pytestmark = pytest.mark.services

LIMIT = 240
# Of the photos of the demo one is smaller, and enlarged.
SMALL = {"JUSTLENS_TARGET_WIDTH": "500", "JUSTLENS_TARGET_HEIGHT": "300"}


def run(folder: Path, *arguments: str, status: int = 0, **environment: str) -> dict[str, Any]:
    """What a command with this data folder printed as JSON."""
    folder.mkdir(exist_ok=True)
    output = folder / "output"
    output.unlink(missing_ok=True)
    command = Command(
        main,
        ["justlens", *arguments, "--json"],
        {**os.environ, **environment, "JUSTLENS_DATA_DIR": str(folder)},
        output,
    )
    assert command.wait(LIMIT) == status, output.read_text()[-3000:]
    return json.loads(output.read_text().splitlines()[-1])


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
    alone = run(tmp_path / "alone", "demo", **SMALL)
    served = run(tmp_path / "served", "demo", **SMALL, **services_environment)
    assert rounded(served["businesses"]) == rounded(alone["businesses"])
    logs = {path.stem for path in (tmp_path / "served" / "demo" / "logs").glob("worker-*.log")}
    assert logs == {"worker-gpu", "worker-cpu", "worker-io"}


def test_what_is_set_up_and_answers_is_reported_with_version_and_latency(
    tmp_path: Path, services_environment: dict[str, str]
) -> None:
    assert all(part["ok"] for part in run(tmp_path, "setup", **services_environment).values())
    findings = run(tmp_path, "doctor", **services_environment)
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
    finding = run(tmp_path, "doctor", status=1, **{f"JUSTLENS_{setting}": address})[part]
    assert not finding["ok"]
    assert f"JUSTLENS_{setting}" in finding["advice"]
    assert "secret" not in (tmp_path / "output").read_text()
