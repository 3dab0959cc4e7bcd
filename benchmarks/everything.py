"""Run the benchmarks in turn, and make one table of what they claim.

Each file is a process of its own. One that fails does not stop the others, but the whole ends with
1. Their entries go to benchmarks/results/latest.json and latest.md and into the README, their plots
and one of all ratios beside them. With --only, those files are measured again and the others' last
reports stand.

    python benchmarks/everything.py
    python benchmarks/everything.py --only text_encoder growth
    FULL=1 python benchmarks/everything.py
"""

import argparse
import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TextIO

from measuring import FULL, table

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
RESULTS = HERE / "results"
REPORTS = "reports"
"""Folder below the results for what each benchmark has written; of this machine, not in git."""

LIMIT_S = 6 * 3600 if FULL else 600
TOLD_EVERY_S = 15
UNITS = {"cores": " cores", "memory_gib": " GiB"}
MACHINES_DIFFER = (
    "Machines differ: another one has other times. The ratios, both sides of which were measured "
    "in one run, are what should hold there, too."
)


@dataclass(frozen=True)
class Run:
    """How a benchmark ended: an exit status, or none after the limit."""

    name: str
    seconds: float
    status: int | None
    has_report: bool = True

    @property
    def failure(self) -> str:
        """How it failed; empty if it did not."""
        if self.status is None:
            return f"had not ended after {LIMIT_S} s"
        if self.status:
            return f"ended with {self.status}"
        return "" if self.has_report else "left no report"


def benchmarks(folder: Path = HERE) -> list[str]:
    """Names of the files that measure."""
    return sorted(file.stem for file in folder.glob("*.py") if file.name != Path(__file__).name)


def claim(name: str, folder: Path = HERE) -> str:
    """The first line of a benchmark's docstring; the file is not run."""
    documented = ast.get_docstring(ast.parse((folder / f"{name}.py").read_text("utf-8"))) or ""
    return documented.partition("\n")[0]


def run(name: str, results: Path, told: TextIO, folder: Path = HERE) -> Run:
    """Run a benchmark, whose report and plots go below `results`."""
    written = results / REPORTS / f"{name}.json"
    written.parent.mkdir(parents=True, exist_ok=True)
    # A report that stays is that of this run.
    written.unlink(missing_ok=True)
    command = [sys.executable, str(folder / f"{name}.py"), "--json", str(written)]
    began = time.monotonic()
    with subprocess.Popen(
        [*command, "--plots", str(results)],
        stdin=subprocess.DEVNULL,
        stdout=told,
        stderr=told,
        # Its own group, so that what it has started ends with it.
        start_new_session=True,
    ) as process:
        try:
            status = _wait(process, name, told)
        finally:
            _end(process)
    ended = Run(name, time.monotonic() - began, status, written.is_file())
    _complete(written, ended)
    return ended


def _complete(written: Path, ended: Run) -> None:
    """Say in a report when it was made and how long that took; or why there is none."""
    made = {"failure": ended.failure} if ended.failure else json.loads(written.read_text())
    made |= {"date": date.today().isoformat(), "seconds": round(ended.seconds, 1)}
    written.write_text(json.dumps(made, indent=2) + "\n")


def _wait(process: subprocess.Popen, name: str, told: TextIO) -> int | None:
    """The exit status; none after the limit."""
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < LIMIT_S:
        try:
            return process.wait(timeout=min(TOLD_EVERY_S, LIMIT_S - elapsed))
        except subprocess.TimeoutExpired:
            print(f"  ... {name}: {time.monotonic() - began:.0f} s", file=told, flush=True)
    return None


def _end(process: subprocess.Popen) -> None:
    """End a benchmark's whole group, whatever is left of it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def reports(results: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the benchmarks have left, those that have run here."""
    files = {name: results / REPORTS / f"{name}.json" for name in names}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}


def rows(left: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The entries of all reports."""
    return [row for report in left.values() for row in report.get("entries", ())]


def missing(left: Mapping[str, Mapping[str, Any]]) -> str:
    """Says which claims have no row, since a benchmark failed or lacked a server or data."""
    measured = {row["name"] for row in rows(left)}
    names = [f"`{name}`" for name in table.MEANING if name not in measured]
    return f"Without a row: {', '.join(names)}." if names else ""


def page(left: Mapping[str, Mapping[str, Any]]) -> str:
    """The table, and what each part of it was measured on, as Markdown."""
    made = [
        "# What was measured",
        "",
        *("Made by `make bench`. " + MACHINES_DIFFER).splitlines(),
        "",
        table.markdown(rows(left)),
        "",
        "![Every ratio and its interval, as a multiple of its target](overview.svg)",
        "",
        "| benchmark | date | took | load at the start | sizes | versions |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, report in _measured(left).items():
        made.append(
            f"| [{name}](../README.md#{name}) | {report['date']} | {report['seconds']:.0f} s "
            f"| {report['machine']['load_at_start']} | {_listed(report['sizes'])} "
            f"| {_listed(report['versions'])} |"
        )
    made += ["", f"Machine: {_machines(left)}.", *filter(None, (missing(left),))]
    for name, report in left.items():
        if "failure" in report:
            made.append(f"Not measured: {name}, which {report['failure']}.")
    return "\n".join(made) + "\n"


def shown(left: Mapping[str, Mapping[str, Any]]) -> str:
    """What the README shows."""
    oldest = min(report["date"] for report in left.values())
    notes = [
        f"By `make bench`, {oldest}, on {_machines(left)}.",
        *filter(None, (missing(left),)),
        "Sizes, versions and loads are in [latest.md](benchmarks/results/latest.md), the methods",
        "in [benchmarks/](benchmarks/README.md).",
    ]
    return "\n".join((table.markdown(rows(left)), "", *notes))


def _measured(left: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {name: report for name, report in left.items() if "failure" not in report}


def _machines(left: Mapping[str, Mapping[str, Any]]) -> str:
    """The machine, or the machines; how busy it was differs from report to report."""
    found = []
    for report in _measured(left).values():
        lasting = {name: value for name, value in report["machine"].items() if "load" not in name}
        found.append(", ".join(f"{value}{UNITS.get(name, '')}" for name, value in lasting.items()))
    return "; ".join(dict.fromkeys(found))


def _listed(named: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in named.items())


def write(results: Path, readme: Path, left: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the table wherever it is kept."""
    table.write(rows(left), results / "latest.json")
    (results / "latest.md").write_text(page(left), encoding="utf-8")
    table.plot(rows(left), results / "overview.svg")
    readme.write_text(table.in_page(readme.read_text("utf-8"), shown(left)), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = benchmarks()
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=known, help="these files")
    parser.add_argument("--list", action="store_true", help="the files and what they claim")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, alone")
    options = parser.parse_args(arguments)
    if options.list:
        for name in known:
            print(f"{name:18} {claim(name)}")
        return 0

    told = sys.stderr if options.json else sys.stdout
    began = time.monotonic()
    runs = []
    chosen = options.only or known
    for place, name in enumerate(chosen, start=1):
        print(f"[{place}/{len(chosen)}] {name}: {claim(name)}", file=told, flush=True)
        runs.append(run(name, RESULTS, told))
        whole = time.monotonic() - began
        ended = runs[-1].failure or "done"
        print(
            f"  {name}: {ended}, {runs[-1].seconds:.0f} s; together {whole:.0f} s\n",
            file=told,
            flush=True,
        )

    left = reports(RESULTS, known)
    never = [name for name in known if name not in left]
    if never:
        print(f"The table is not written: never run here: {', '.join(never)}", file=told)
    else:
        write(RESULTS, README, left)
        print(f"Written: latest.json, latest.md and plots in {RESULTS}; README.md", file=told)
        print(missing(left), file=told)
    now = rows({name: left[name] for name in chosen})
    print(json.dumps(now, indent=1) if options.json else table.markdown(now))
    failed = [one for one in runs if one.failure]
    print(f"\n{MACHINES_DIFFER}", file=told)
    for one in failed:
        print(f"{one.name} {one.failure}", file=told)
    print(f"{len(runs)} benchmarks in {time.monotonic() - began:.0f} s", file=told)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
