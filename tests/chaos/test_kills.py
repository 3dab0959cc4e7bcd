"""Real processes are killed in the middle of their work; nothing is lost and nothing done twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipeline.queues import GPU_QUEUES, Stage
from pipeline.records import ImageState
from tests.fast_models import ENVIRONMENT, KILLS_THE_PROCESS, RAISES
from tests.pictures import encoded, green, plain
from tests.services.conftest import Site

pytestmark = pytest.mark.chaos


def test_a_poison_image_and_a_raising_one_leave_their_neighbours_alone(site: Site) -> None:
    """64 messages to the bare command: one ends the process, one raises."""
    contents = {number: green(number) for number in range(1, 65)}
    contents[20] = encoded(plain(KILLS_THE_PROCESS, seed=20))
    contents[41] = encoded(plain(RAISES, seed=41))
    for number, content in contents.items():
        site.intake.accept_bytes("shop-1", number, content)

    def enhanced() -> int:
        known = site.stores.documents.metadata([("shop-1", number) for number in contents])
        return sum(Stage.ENHANCE.value in metadata.stages for metadata in known.values())

    while enhanced() < 64:
        worker = site.worker(Stage.ENHANCE.value)
        site.until(lambda w=worker: enhanced() == 64 or w.poll() is not None, "done, or killed")

    known = site.stores.documents.metadata([("shop-1", number) for number in contents])
    outcomes = {key[1]: metadata.stages[Stage.ENHANCE.value] for key, metadata in known.items()}
    assert sum(record.outcome == "done" for record in outcomes.values()) == 62
    letters = {letter.product_id: letter for letter in site.stores.documents.dead_letters()}
    assert set(letters) == {20, 41}
    assert letters[20].exception == "PoisonMessage"
    assert letters[41].exception == "ValueError"
    assert len(site.parked(Stage.ENHANCE.value)) == 2
    passes = [line for line in site.journal_lines() if line.startswith("pass")]
    together = [line for line in passes if line != "pass 1"]
    assert len(together) <= 16
    # The rest of the graph: all go on, the two without an enhancement.
    site.worker(Stage.UPDATE.value, Stage.TAG.value, name="rest")
    site.worker(Stage.DESCRIBE.value, Stage.SCORE.value, Stage.ALT_TEXT.value, name="end")
    site.until(lambda: site.states() == {ImageState.DONE: 64}, "all are done")
    assert len(site.stores.documents.dead_letters()) == 2
    rows = site.stores.documents.relevance(["shop-1"], [2])
    assert sorted(row.product_id for row in rows) == sorted(contents)


def test_everything_killed_in_the_middle_comes_back_and_nothing_runs_twice(site: Site) -> None:
    site.worker(*GPU_QUEUES, name="gpu")
    site.worker(Stage.UPDATE.value, Stage.DESCRIBE.value, Stage.SCORE.value, name="cpu")
    site.take_in(30)
    site.until(lambda: site.states().get(ImageState.DONE, 0) >= 5, "the first are done")
    site.kill()

    site.broker.ensure()
    site.worker(name="again")
    site.beat()
    site.take_in(30)
    site.until(lambda: site.states() == {ImageState.DONE: 30}, "all are done")
    assert site.stores.documents.dead_letters() == []
    rows = site.stores.documents.relevance(["shop-1"], [1])
    assert sorted(row.product_id for row in rows) == list(range(1, 31))


def test_what_justlens_up_has_started_ends_when_it_is_killed(tmp_path: Path) -> None:
    up = subprocess.Popen(
        [str(Path(sys.executable).parent / "justlens"), "up", "--port", "0", "--json"],
        env={**os.environ, **ENVIRONMENT, "JUSTLENS_DATA_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    assert up.stdout is not None
    assert json.loads(up.stdout.readline())["data_dir"] == str(tmp_path)
    noted = json.loads((tmp_path / "run" / "processes.json").read_text())
    assert len(noted) > 4
    up.kill()
    up.wait()
    alive = [psutil.Process(pid) for pid, _ in noted if psutil.pid_exists(pid)]
    _, left = psutil.wait_procs(alive, timeout=60)
    assert left == []
