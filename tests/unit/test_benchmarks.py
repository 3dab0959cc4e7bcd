"""The benchmarks' runner and its table. What the benchmarks measure is not measured here."""

import json
from pathlib import Path
from typing import Any

import backfill
import everything
import numpy as np
import pytest
from measuring import Entry, entry, paired_entry, table

ROOT = Path(__file__).resolve().parents[2]
LATEST = ROOT / "benchmarks" / "results" / "latest.json"
KEYS = ["name", "ours", "baseline", "ratio", "spread", "unit", "better", "target", "target_of"]


def row(name: str = "describer", **changed: Any) -> dict[str, Any]:
    made = {
        "name": name,
        "ours": 90.0,
        "baseline": 100.0,
        "ratio": 0.9,
        "spread": (0.85, 0.95),
        "unit": "requests/s",
        "better": "higher",
        "target": 0.8,
    }
    return Entry(**{**made, **changed}).row()


def report(*rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "date": "2026-11-26",
        "seconds": 12.0,
        "machine": {"cores": 2, "load_at_start": 0.3},
        "versions": {"python": "3.11.7"},
        "sizes": {"rounds": 12},
        "entries": list(rows),
    }


def test_the_readme_shows_the_last_results() -> None:
    rows = json.loads(LATEST.read_text())
    assert all(set(row) == {*KEYS, "holds"} for row in rows)
    readme = (ROOT / "README.md").read_text()
    between = readme.partition(table.BEGIN)[2].partition(table.END)[0]
    assert table.markdown(rows) in between
    assert table.markdown(rows) in (LATEST.parent / "latest.md").read_text()


def test_rows_come_in_one_order_whatever_order_they_were_measured_in() -> None:
    names = [row(name) for name in ("zebra", "planner", "apple", "graph_rabbitmq")]
    assert [one["name"] for one in table.ordered(names)] == [
        "graph_rabbitmq",
        "planner",
        "apple",
        "zebra",
    ]


def test_a_claim_that_does_not_hold_is_a_row_that_says_so() -> None:
    assert "| yes |" in table.markdown([row()])
    assert "| **no** |" in table.markdown([row(target=0.95)])


def test_a_target_may_be_of_the_figure_and_not_of_the_ratio() -> None:
    small = row(ours=15.0, unit="ms", better="lower", target=20.0, target_of="ours")
    assert small["holds"]
    assert "≤ 20 ms" in table.markdown([small])


def test_a_target_of_the_interval_says_so() -> None:
    lasting = row("soak_memory", ratio=1.01, spread=(0.99, 1.03), better="lower", target=1.02)
    assert lasting["holds"]
    strict = {**lasting, "target_of": "spread"}
    assert "≤ 1.02, the whole interval" in table.markdown([strict])


def test_a_single_reading_has_no_interval() -> None:
    assert "| 0.900 (0.850 to 0.950) |" in table.markdown([row()])
    assert "| 0.900 |" in table.markdown([row(spread=(0.9, 0.9))])


def test_every_kind_of_target_is_drawn(tmp_path: Path) -> None:
    kinds = [row(), row("text_small", target=20, target_of="ours"), row("x", target_of="spread")]
    table.plot(kinds, tmp_path / "overview.svg")
    drawn = (tmp_path / "overview.svg").read_text()
    assert all(one["name"] in drawn for one in kinds)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (1234567.8, "1,234,568"), (12.345, "12.3"), (0.012345, "0.0123"), (-2.5, "-2.50")],
)
def test_figures_have_three_digits(value: float, shown: str) -> None:
    assert table.number(value) == shown


def test_a_page_keeps_what_is_around_the_table() -> None:
    page = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    once = table.in_page(page, "new")
    assert once.startswith("before\n") and once.endswith("\nafter\n")
    assert "new" in once and "old" not in once
    assert table.in_page(once, "new") == once


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="has no lines"):
        table.in_page("nothing here", "new")


def test_an_entry_is_the_ratio_of_medians_with_its_interval() -> None:
    made = entry("x", [2.0, 2.0, 4.0], [1.0, 1.0, 1.0], "s", "lower", 2.0)
    assert (made.ours, made.baseline, made.ratio) == (2.0, 1.0, 2.0)
    assert made.spread[0] <= made.ratio <= made.spread[1]
    assert made.holds


def test_what_both_ways_gave_for_the_same_items_is_drawn_together() -> None:
    baseline = [0.1, 0.9, 0.2, 0.8, 0.3, 0.7] * 20
    ours = [2 * value for value in baseline]
    made = paired_entry("x", ours, baseline, "share", 2.0, "spread")
    # Drawn apart, the ratio of the means would differ from draw to draw.
    assert (made.ratio, made.spread, made.holds) == (2.0, (2.0, 2.0), True)


def test_an_interval_over_groups_is_wider_where_a_group_is_alike() -> None:
    baseline = [1.0] * 300
    groups = [number // 10 for number in range(300)]
    ours = [float(group % 2 + 1) for group in groups]
    alone = paired_entry("x", ours, baseline, "share", 1.0)
    together = paired_entry("x", ours, baseline, "share", 1.0, groups=groups)
    assert alone.ratio == together.ratio == 1.5
    assert together.spread[0] < alone.spread[0] < alone.spread[1] < together.spread[1]


def test_results_are_written_to_every_place(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# One\n{table.BEGIN}\n{table.END}\n")
    written = {"describer": report(row()), "planner": report(row("planner", target=0.99))}
    failed = {"failure": "ended with 1", "date": "2026-11-26", "seconds": 1.0}
    everything.write(tmp_path, readme, {**written, "growth": failed})
    rows = json.loads((tmp_path / "latest.json").read_text())
    assert [one["name"] for one in rows] == ["describer", "planner"]
    assert list(rows[0]) == [*KEYS, "holds"]
    page = (tmp_path / "latest.md").read_text()
    for text in (readme.read_text(), page):
        assert table.markdown(rows) in text
    assert "Not measured: growth, which ended with 1." in page
    for text in (readme.read_text(), page):
        without = text.partition("Without a row: ")[2].partition("\n")[0]
        assert "`growth_page`" in without and "`describer`" not in without
    assert "<svg" in (tmp_path / "overview.svg").read_text()


def test_a_benchmark_that_fails_leaves_how_and_no_rows(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "import sys; open(sys.argv[2], 'w').write('{}'); sys.exit(3)"
    )
    (tmp_path / "silent.py").write_text("")
    (tmp_path / "works.py").write_text("import sys; open(sys.argv[2], 'w').write('{}')")
    with (tmp_path / "told").open("w") as told:
        broken, silent, works = (
            everything.run(name, tmp_path, told, tmp_path) for name in ("broken", "silent", "works")
        )
    assert broken.failure == "ended with 3"
    assert silent.failure == "left no report"
    assert works.failure == ""
    left = everything.reports(tmp_path, ["broken", "works"])
    assert left["broken"]["failure"] == "ended with 3"
    assert "failure" not in left["works"]


def test_a_benchmark_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everything, "LIMIT_S", 0.2)
    (tmp_path / "hangs.py").write_text("import threading; threading.Event().wait()")
    with (tmp_path / "told").open("w") as told:
        assert "had not ended" in everything.run("hangs", tmp_path, told, tmp_path).failure


def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> list[str]:
    """Benchmarks that end at once, "broken" with a failure; names of those that ran."""
    ran: list[str] = []

    def run(name: str, results: Path, *_: object) -> everything.Run:
        ran.append(name)
        ended = everything.Run(name, 1.0, int(name == "broken"))
        left = {"failure": ended.failure} if ended.failure else {}
        (results / everything.REPORTS).mkdir(exist_ok=True)
        (results / everything.REPORTS / f"{name}.json").write_text(
            json.dumps({**report(row(name)), **left, **({"entries": []} if left else {})})
        )
        return ended

    (tmp_path / "README.md").write_text(f"{table.BEGIN}\n{table.END}\n")
    monkeypatch.setattr(everything, "RESULTS", tmp_path)
    monkeypatch.setattr(everything, "README", tmp_path / "README.md")
    monkeypatch.setattr(everything, "benchmarks", lambda: names)
    monkeypatch.setattr(everything, "claim", lambda name: "")
    monkeypatch.setattr(everything, "run", run)
    return ran


def test_one_that_fails_stops_no_other_and_fails_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = scripted(tmp_path, monkeypatch, ["broken", "fine", "good"])
    assert everything.main(["--json"]) == 1
    assert ran == ["broken", "fine", "good"]
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["fine", "good"]
    assert len(json.loads((tmp_path / "latest.json").read_text())) == 2


def test_one_measured_again_leaves_the_rows_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = scripted(tmp_path, monkeypatch, ["fine", "good"])
    everything.main([])
    (tmp_path / "latest.json").unlink()
    assert everything.main(["--only", "good"]) == 0
    assert ran == ["fine", "good", "good"]
    assert len(json.loads((tmp_path / "latest.json").read_text())) == 2


def test_no_table_is_written_from_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(tmp_path, monkeypatch, ["fine", "good"])
    assert everything.main(["--only", "good"]) == 0
    assert not (tmp_path / "latest.json").exists()


@pytest.mark.parametrize(("leak_kib", "holds"), [(0.3, True), (2.0, False), (4.0, False)])
def test_a_small_leak_of_a_backfill_is_seen_in_a_short_run(leak_kib: float, holds: bool) -> None:
    rate = 40.0
    at = np.arange(15.0, 75.0, backfill.LOOK_EVERY_S)
    noise = np.random.default_rng(0).normal(0, 0.1, len(at))
    found = backfill.growth(backfill.slope(at, 140 + at * rate * leak_kib / 1024 + noise), rate)
    assert found.holds is holds
    assert found.spread[0] < leak_kib / backfill.GROWTH_KIB < found.spread[1]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (f'{{"done": {backfill.ROWS - 1}, "failed": 1}}', 1),
        (f'{{"done": {backfill.ROWS - 1}, "in_flight": 1}}', 0),
        ("", -9),
    ],
)
def test_a_backfill_that_is_not_all_done_is_no_measurement(answer: str, status: int) -> None:
    with pytest.raises(SystemExit, match="error"):
        backfill.whole(answer.encode(), status)


def test_a_backfill_that_is_all_done_is_one() -> None:
    told = {"done": backfill.ROWS, "seconds": 70.0}
    assert backfill.whole(json.dumps(told).encode(), 0) == told
