"""Service times out of files and out of workers' figures."""

import json
from pathlib import Path

import pytest

from pipeline.capacity.service_times import (
    MEASURED,
    POOLS,
    Figures,
    StageTime,
    read,
    stage_times,
)
from pipeline.errors import ConfigurationError
from pipeline.queues import Stage


def figures(stage: Stage, runs: int, seconds: float, cpu: float, process: float) -> str:
    """What a worker tells that has run one stage so often, all runs in one bucket."""
    labels = f'stage="{stage.value}",outcome="done"'
    return "\n".join(
        [
            "# TYPE justlens_stage_seconds histogram",
            f'justlens_stage_seconds_bucket{{{labels},le="0.25"}} 0',
            f'justlens_stage_seconds_bucket{{{labels},le="0.5"}} {runs}',
            f'justlens_stage_seconds_bucket{{{labels},le="+Inf"}} {runs}',
            f"justlens_stage_seconds_count{{{labels}}} {runs}",
            f"justlens_stage_seconds_sum{{{labels}}} {seconds}",
            "# TYPE justlens_stage_cpu_seconds counter",
            f'justlens_stage_cpu_seconds_total{{stage="{stage.value}"}} {cpu}',
            "# TYPE process_cpu_seconds counter",
            f"process_cpu_seconds_total {process}",
            "",
        ]
    )


def test_a_stage_is_on_a_core_in_its_slot_outside_of_it_or_waits() -> None:
    before = Figures([figures(Stage.ENHANCE, 10, 4.0, 1.0, 30.0)])
    after = Figures([figures(Stage.ENHANCE, 20, 8.0, 2.0, 33.0)])
    (found,) = stage_times(after.since(before), {Stage.ENHANCE: 8}).items()
    assert found[0] is Stage.ENHANCE
    expected = StageTime(
        cpu_seconds=0.1, serial_cpu_seconds=0.2, wait_seconds=0.1, scv=0.0, batch=8
    )
    assert found[1].model_dump() == pytest.approx(expected.model_dump())


def test_the_same_stage_in_two_processes_is_one_stage() -> None:
    texts = [figures(Stage.TAG, 3, 0.9, 0.3, 0.3), figures(Stage.TAG, 1, 0.3, 0.1, 0.1)]
    found = stage_times(Figures(texts))[Stage.TAG]
    assert found.cpu_seconds == pytest.approx(0.1)
    assert found.serial_cpu_seconds == pytest.approx(0.0, abs=1e-12)
    assert found.wait_seconds == pytest.approx(0.2)


def test_a_stage_that_has_not_run_has_no_time() -> None:
    assert stage_times(Figures([figures(Stage.SCORE, 0, 0.0, 0.0, 5.0)])) == {}


def test_the_shipped_times_are_of_all_stages_and_stores() -> None:
    shipped = read(MEASURED)
    assert set(shipped.stages) == set(Stage)
    assert shipped.measured
    assert set(shipped.worker_gib) == set(POOLS)
    assert {"originals", "enhanced", "documents", "relational", "vectors"} == set(
        shipped.bytes_per_image
    )
    assert 0.1 < shipped.core_seconds < 5


def test_a_written_file_reads_the_same_in_json_and_toml(tmp_path: Path) -> None:
    lines = [f"[stages.{stage.value}]\ncpu_seconds = 0.25\nwait_seconds = 1\n" for stage in Stage]
    (tmp_path / "times.toml").write_text("\n".join(lines))
    times = read(tmp_path / "times.toml")
    (tmp_path / "times.json").write_text(times.model_dump_json())
    assert read(tmp_path / "times.json") == times
    assert times.core_seconds == 1.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ("[]", "no table"),
        ('{"stages": {"image_tag_process": {"cpu_seconds": 1}}}', "no times of image_enhance"),
        ('{"stages": {"image_tag_process": {"cpu_seconds": -1}}}', "cpu_seconds"),
        ('{"stages": {}, "seconds": 1}', "seconds"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "times.json").write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        read(tmp_path / "times.json")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no\.json cannot be read"):
        read(tmp_path / "no.json")


def test_the_shipped_file_is_what_measuring_writes() -> None:
    assert json.loads(MEASURED.read_text()).keys() == read(MEASURED).model_dump().keys()
