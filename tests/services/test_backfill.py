"""``justlens ingest`` of a catalogue, as a process that is killed and called again."""

import csv
import json
from pathlib import Path
from typing import Any

from filelock import FileLock

from cli.main import app as justlens
from pipeline.backlog import waiting
from pipeline.broker import run_directory
from pipeline.queues import Lane, Stage
from pipeline.records import ImageState
from tests.pictures import green
from tests.processes import Command
from tests.services.conftest import Site

ROWS = 60
MOST = 16
WRONG = 5


def catalogue(folder: Path) -> Path:
    """So many rows with a photo each, and one without."""
    folder.mkdir()
    lines = ["docid,product_id,product_url,business_name,categories"]
    for number in range(1, ROWS + 1):
        (folder / f"{number}.png").write_bytes(green(number))
        lines.append(f"shop-{number // 10},{number},{number}.png,Shop,1:Red Paint|2:Green Paint")
    lines.insert(WRONG - 1, "shop-1,x,no.png,Shop,")
    path = folder / "catalogue.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_killed_ingest_goes_on_where_it_was_and_never_holds_more_than_its_bound(
    any_site: Site,
) -> None:
    site = any_site
    path = catalogue(site.folder / "catalogue")
    # What `justlens up` holds: the ingest does not start a system of its own.
    running = FileLock(run_directory(site.settings) / "up.lock")
    running.acquire()
    worker = site.worker()
    site.until(lambda: site.app.control.ping(timeout=1), "the worker answers")
    depths = []

    def ingest(name: str, *catalogue: str) -> Command:
        command = ["justlens", "ingest", *catalogue, "--in-flight", str(MOST), "--json"]
        process = Command(justlens, command, site.environment, site.folder / f"{name}.log")
        site.processes.append(process)
        return process

    def at_least(count: int) -> bool:
        depths.append(waiting(site.app, Lane.BULK))
        return site.states().get(ImageState.DONE, 0) >= count

    def is_noted() -> bool:
        return any(place["line"] > WRONG for _, place in noted() if place)

    def noted() -> list[tuple[str, Any]]:
        values = site.stores.documents.every_value()
        return [value for value in values if value[0].startswith("ingest.")]

    killed = ingest("killed", str(path))
    site.until(lambda: at_least(15) and is_noted(), "some are done, and that is noted")
    killed.kill()
    killed.wait()
    again = ingest("again", "--csv", str(path))
    site.until(lambda: at_least(ROWS), "all are done")
    assert again.wait(60) == 1
    running.release()

    assert max(depths) <= MOST
    rows = list(site.stores.documents.every_image())
    assert {(row.generation, row.state, row.lane) for row in rows} == {
        (1, ImageState.DONE, Lane.BULK)
    }
    assert len(rows) == ROWS
    # A kill between a message and the note that it was sent is the one chance to send it twice.
    log = (site.folder / "test.log").read_text()
    assert ROWS <= log.count(f"Task {Stage.ENHANCE.value}[") <= ROWS + 1
    told = [json.loads(line) for line in (site.folder / "again.log").read_text().splitlines()]
    report = told[-1]
    assert report["resumed_at"]
    assert report["done"] < ROWS
    # That one was read by the call that was killed, and is told all the same.
    assert report["refused_rows"] == [str(path.with_suffix(".refused.csv"))]
    refused = list(csv.DictReader(path.with_suffix(".refused.csv").open()))
    assert [(row["product_url"], row["line"]) for row in refused] == [("no.png", str(WRONG))]
    assert "product_id: not a number" in refused[0]["refused_because"]
    assert [place for _, place in noted()] == [None]
    assert worker.poll() is None
