"""``justlens capacity`` as people and programs call it."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from pipeline.capacity.figures import EXAMPLE
from pipeline.errors import JustLensError

LOAD = ("--images-per-day", "200_000", "--backfill", "1_000_000", "--days", "10")


def call(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, ["capacity", *arguments])


def test_a_load_is_answered_with_workers_nodes_and_money() -> None:
    result = call(*LOAD, "--no-simulate", "--pages-per-second", "50")
    assert result.exit_code == 0, result.output
    servers = ("RabbitMQ", "Valkey or", "MongoDB", "MariaDB or", "object store", "Milvus")
    for word in ("gpu", "io", "cpu", "api", *servers, "USD"):
        assert word in result.stdout
    assert "no Triton: they are planned with --gpu and --describer" in result.stdout
    assert "during the backfill" in result.stdout
    assert "example's" in result.stdout


def test_json_holds_both_plans_and_the_day(tmp_path: Path) -> None:
    picture = tmp_path / "day.svg"
    result = call(*LOAD, "--no-simulate", "--json", "--plot", str(picture))
    answer = json.loads(result.stdout)
    assert answer["during"]["price"] > 0
    assert {"rabbitmq", "joins", "documents", "vectors"} < set(answer["during"]["nodes"])
    assert answer["after"]["pools"]["gpu"]["workers"] <= answer["during"]["pools"]["gpu"]["workers"]
    assert len(answer["during"]["day"]["hours"]) == 288
    assert answer["simulated"] is None
    drawn = " ".join(ElementTree.parse(picture).getroot().itertext())
    assert "hour of the day" in drawn
    assert "backfill" in drawn


def test_own_prices_gpus_and_describers_are_taken(tmp_path: Path) -> None:
    prices = tmp_path / "mine.toml"
    prices.write_text(EXAMPLE.read_text().replace('"USD"', '"EUR"'))
    named = ("--gpu", "example", "--describer", "example")
    result = call(*LOAD, "--no-simulate", "--prices", str(prices), *named)
    assert "EUR" in result.stdout
    assert "Triton" in result.stdout
    assert "--describer" not in result.stdout
    assert "NOT measured" in result.stdout
    assert "example's" not in result.stdout


def test_formulas_stand_beside_what_a_simulation_has_found() -> None:
    answer = json.loads(call("--images-per-day", "20_000", "--images", "300", "--json").stdout)
    seen = answer["simulated"]
    assert seen["rate"] == pytest.approx(seen["arrived"], rel=0.3)
    assert {row["pool"] for row in seen["rows"]} == {"gpu", "io", "cpu"}
    assert "after" not in answer


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "how many a day"),
        (("--images-per-day", "10", "--profile", "1,2"), "24 numbers"),
        (("--images-per-day", "10", "--profile", "a"), "24 numbers"),
        (("--images-per-day", "10", "--prices", "no.toml"), "no.toml cannot be read"),
        (("--images-per-day", "10", "--service-times", "no.json"), "no.json cannot be read"),
        (("--images-per-day", "10", "--gpu", "h100"), "there are: example"),
        (("--images-per-day", "10", "--utilisation", "2"), "between 0 and 1"),
        (("--images-per-day", "10", "--no-simulate", "--plot", "day.png"), "day.svg"),
    ],
)
def test_what_cannot_be_planned_is_one_clear_error(arguments: tuple[str, ...], says: str) -> None:
    result = call(*arguments)
    assert isinstance(result.exception, JustLensError)
    assert says in str(result.exception)


def test_measuring_needs_photos_or_workers(tmp_path: Path) -> None:
    to = str(tmp_path / "times.json")
    assert "--from" in str(call("measure", "--to", to).exception)
    (tmp_path / "photos").mkdir()
    assert "holds 0 photos" in str(call("measure", str(tmp_path / "photos"), "--to", to).exception)
    silent = call("measure", "--from", "http://127.0.0.1:9/metrics", "--to", to)
    assert "tells no figures" in str(silent.exception)
    assert not Path(to).exists()
