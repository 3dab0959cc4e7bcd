"""``justlens report``."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.settings import settings
from pipeline.stores import open_stores
from tests.unit.stores.test_events import click, event


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A data folder with some events."""
    monkeypatch.setenv("JUSTLENS_DATA_DIR", str(tmp_path / "var"))
    settings.cache_clear()
    stores = open_stores(settings())
    words = {"query": "cofee", "category": "Coffee Shops"}
    stores.events.save(
        [
            event("1", **words),
            click("2", **words),
            event("3", position=2, source="rule_set", **words),
            event("4", docid="B2", query="[zzz]"),
            event("5", occurred_at=1.0, query="long ago"),
        ]
    )
    stores.close()
    yield
    settings.cache_clear()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["report", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_shows_click_through_and_queries_to_people() -> None:
    shown = run()
    for words in ("dynamic 1", "dynamic 2", "rule_set", "50.0%", "cofee", "Coffee Shops", "[zzz]"):
        assert words in shown
    assert "long ago" not in shown


def test_says_so_when_there_was_nothing() -> None:
    assert "Nothing was shown" in run("--docid", "B3")


def test_gives_the_same_as_json() -> None:
    report = json.loads(run("--json", "--days", "7", "--docid", "B1"))
    positions = {(one["slot"], one["position"]): one for one in report["positions"]}
    assert positions["dynamic", 1]["rate"] == 1.0
    assert positions["dynamic", 1]["low"] < 1.0
    assert positions["dynamic", 2]["clicks"] == 0
    assert {one["source"]: one["impressions"] for one in report["sources"]} == {
        "scores": 1,
        "rule_set": 1,
    }
    assert [one["query"] for one in report["clicked"]] == ["cofee"]
    assert report["in_vain"] == []


def test_writes_queries_for_the_retraining(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    run("--queries", str(path))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == {
        "query": "cofee",
        "category": "Coffee Shops",
        "docid": "B1",
        "product_id": 7,
        "count": 1,
    }
    assert {line["query"] for line in lines} == {"cofee", "[zzz]", "long ago"}
