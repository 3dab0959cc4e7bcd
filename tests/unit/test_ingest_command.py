"""``justlens ingest``."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import ingest as ingest_module
from cli.catalogue_file import CatalogueFile
from cli.ingest import Ingest
from cli.main import app
from pipeline import backfill as backfill_module
from pipeline.errors import JustLensError, StoreUnavailable
from pipeline.queues import Lane
from pipeline.settings import settings
from tests.unit.test_backfill import Running

ROWS = 8


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """A CSV file that is not named as one."""
    lines = [f"shop,{number},https://a.example/{number}.jpg" for number in range(1, ROWS + 1)]
    path = tmp_path / "catalogue.txt"
    path.write_text("\n".join(["docid,product_id,product_url", *lines]))
    return path


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[tuple[Path, Path]]]:
    """The CSV files that the command takes in, and where their refused rows go."""
    files: list[tuple[Path, Path]] = []
    monkeypatch.setenv("JUSTLENS_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setattr(ingest_module, "running_system", lambda _: nullcontext())
    monkeypatch.setattr(
        Ingest, "catalogue", lambda _, file, refused: files.append((file.path, refused))
    )
    settings.cache_clear()
    yield files
    settings.cache_clear()


def test_a_catalogue_is_named_by_an_option_as_well(
    taken: list[tuple[Path, Path]], catalogue: Path
) -> None:
    result = CliRunner().invoke(app, ["ingest", "--csv", str(catalogue)])
    assert result.exit_code == 0, result.output
    assert taken == [(catalogue, catalogue.with_suffix(".refused.csv"))]


def test_of_a_file_and_a_catalogue_both_are_taken_in(
    taken: list[tuple[Path, Path]], catalogue: Path
) -> None:
    other = catalogue.with_suffix(".csv")
    other.write_text(catalogue.read_text())
    result = CliRunner().invoke(app, ["ingest", str(other), "--csv", str(catalogue)])
    assert result.exit_code == 0, result.output
    assert [path for path, _ in taken] == [other, catalogue]


def test_with_nothing_named_it_says_what_can_be() -> None:
    result = CliRunner().invoke(app, ["ingest"])
    assert isinstance(result.exception, JustLensError)
    assert "--csv" in str(result.exception)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    system = Running(tmp_path / "var")
    yield system
    system.stores.close()


@pytest.fixture
def work(running: Running, monkeypatch: pytest.MonkeyPatch) -> Ingest:
    """Beside a store that takes no bookmark but the last, which is asked to at every step."""
    save = running.stores.documents.save_value

    def save_value(name: str, value: Any) -> None:
        if value is not None:
            raise StoreUnavailable("no one is there")
        save(name, value)

    monkeypatch.setattr(running.stores.documents, "save_value", save_value)
    monkeypatch.setattr(ingest_module, "NOTE_EVERY", -1.0)
    monkeypatch.setattr(Ingest, "_backfill", lambda _, lane: running.backfill())
    return Ingest(
        running.stores,
        running.settings,
        lane="auto",
        in_flight=None,
        force=False,
        wait=True,
        json_output=True,
    )


def test_a_bookmark_that_cannot_be_kept_ends_no_ingest(work: Ingest, catalogue: Path) -> None:
    work.catalogue(CatalogueFile(catalogue), catalogue.with_suffix(".refused.csv"))
    assert work.counts == {"done": ROWS}


def test_what_ended_an_ingest_is_told_even_where_no_bookmark_can_be_kept(
    work: Ingest, running: Running, catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(backfill_module.PATIENCE, Lane.BULK, 20.0)
    running.pace = 0
    with pytest.raises(JustLensError, match="are the workers running"):
        work.catalogue(CatalogueFile(catalogue), catalogue.with_suffix(".refused.csv"))
