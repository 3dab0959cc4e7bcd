"""Claim: asked for more than it can answer, a server answers as much as ever, in bounded time.

A server as `justlens up` starts it, on cores that it shares with the client. Requests arrive at
random at a fixed rate, whether or not those before them are answered (an open loop, by locust in a
process of its own), and a request's time runs from when it was due. Two kinds: pages of 25
businesses with 40 photos each, and one business alone; each at 50, 100 and 200 a second and some
rates around them.

Baseline of the pages answered at 200 a second: those answered to one client that asks for one
after the other, from the same server just before. Target: at least 0.8 of them, by the median.
Baseline of their time: what the pages that may wait (`JUSTLENS_PAGES_WAITING`) and those being
made would take at that rate; target: 99 of 100 within 1.5 times that. Who finds no room is told so
at once (503).

How much is sustained is the highest rate at which 99 of 100 requests are answered within 200 ms.
"""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import FULL, Entry, arguments, directory, entry, machine, report, versions
from measuring.directory import BUSINESSES, PHOTOS, WANTED
from measuring.load import Answer, Request, Step, good_a_second, load, percentiles
from measuring.plots import save, subplots
from measuring.serving import Server

from pipeline.settings import Settings

LIMIT = 10
DUE_SECONDS = 0.2
RATES = {"page": (25, 50, 75, 100, 200), "business": (50, 100, 200, 400)}
SECONDS = 60.0 if FULL else 5.0
CLOSED_SECONDS = 20.0 if FULL else 4.0
WARM_UP = 50
HIGHEST = 200


def requests(docids: list[str]) -> dict[str, Request]:
    """What is asked for, by kind."""
    page = {"docids": docids, "limit": LIMIT, "category": WANTED}
    one = f"/v1/relevance/{docids[0]}?category={WANTED.replace(' ', '+')}&limit={LIMIT}"
    return {
        "page": ("page", "POST", "/v1/relevance", page),
        "business": ("business", "GET", one, None),
    }


def one_after_the_other(port: int, request: Request, seconds: float) -> list[float]:
    """Answers in each second to a client that waits for each of them."""
    _, method, path, body = request
    content = None if body is None else json.dumps(body)
    headers = {"Accept-Encoding": "gzip", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    ended: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        ended.append(time.perf_counter() - began)
    connection.close()
    return [float(count) for count in np.histogram(ended, np.arange(0.0, seconds + 0.5, 1.0))[0]]


def ladder(kind: str, request: Request) -> Iterator[Step]:
    """The rates of a kind, the lowest first."""
    for rate in RATES[kind]:
        yield Step(f"{kind} {rate}", rate, [request] * round(rate * SECONDS))


def of_step(answers: list[Answer], rate: float) -> dict[str, Any]:
    """What came of a step."""
    good = sum(answer.is_good for answer in answers)
    in_time = sum(answer.is_good and answer.seconds <= DUE_SECONDS for answer in answers)
    refused = [answer.seconds for answer in answers if answer.status == 503]
    return {
        "asked": len(answers),
        "rate": rate,
        "answered": good,
        "answered_a_second": round(float(np.mean(good_a_second(answers))), 1),
        "refused": len(refused),
        "refused_p99_ms": round(1000 * float(np.percentile(refused, 99)), 1) if refused else None,
        "errors": len(answers) - good - len(refused),
        "in_time": round(in_time / len(answers), 4),
        **percentiles(answers),
    }


def sustained(steps: list[dict[str, Any]]) -> float:
    """The highest rate up to which 99 of 100 were answered in time; 0: none."""
    found = 0.0
    for step in steps:
        if step["in_time"] < 0.99:
            break
        found = step["rate"]
    return found


@dataclass(frozen=True)
class Measured:
    """What came of all requests to a server.

    Attributes
    ----------
    answers:
        To the rates of both kinds, in one course of time.
    steps:
        What came of each rate, by kind.
    closed:
        Answers in each second to a client that waits for each of them, by kind.
    resident_mb:
        Of the server, at the end.
    """

    answers: list[Answer]
    steps: dict[str, list[dict[str, Any]]]
    closed: dict[str, list[float]]
    resident_mb: float

    @property
    def lines(self) -> list[str]:
        """For people."""
        told = []
        for kind, steps in self.steps.items():
            told += [
                f"{kind:8} {step['rate']:4} a second: {step['answered_a_second']:6.1f} answered a "
                f"second, of {step['asked']} refused {step['refused']}, failed {step['errors']}; "
                f"{step['p50_ms']:.1f} ms median, {step['p99_ms']:.1f} p99"
                for step in steps
            ]
            told.append(
                f"{kind:8} one after the other: {np.median(self.closed[kind]):.0f} a second; "
                f"sustained, 99 of 100 within {1000 * DUE_SECONDS:.0f} ms: {sustained(steps):.0f}"
            )
        return [*told, f"{self.resident_mb:.0f} MB resident at the end"]


def draw(folder: Path, name: str, measured: Measured) -> None:
    """Percentiles by rate, and every answer over time."""
    answers, kinds = measured.answers, measured.steps
    figure, places = subplots(1, len(kinds), figsize=(10, 4))
    for place, (kind, found) in zip(places, kinds.items(), strict=True):
        rates = [step["rate"] for step in found]
        for part in ("p50", "p90", "p95", "p99"):
            place.plot(rates, [step[f"{part}_ms"] for step in found], marker="o", label=part)
        place.axhline(1000 * DUE_SECONDS, color="grey", linestyle=":", label="due")
        answered = place.twinx()
        rate = [step["answered_a_second"] for step in found]
        answered.plot(rates, rate, color="black", linestyle="--", label="answered")
        answered.set(ylabel="answered a second (dashed)", ylim=(0, None))
        place.set(title=kind, xlabel="asked for a second", ylabel="ms", yscale="log")
        place.legend(loc="upper left", fontsize="small")
    save(figure, folder / f"load_by_rate{name}.svg")
    figure, place = subplots(figsize=(10, 4))
    for status, color, label in ((200, "tab:blue", "answered"), (503, "tab:orange", "refused")):
        some = [answer for answer in answers if answer.status == status]
        place.plot(
            [answer.due for answer in some],
            [1000 * answer.seconds for answer in some],
            linestyle="none",
            marker=".",
            markersize=3,
            color=color,
            label=label,
            # Thousands of points would make a file of megabytes.
            rasterized=True,
        )
    starts: dict[str, float] = {}
    for answer in answers:
        starts[answer.step] = min(answer.due, starts.get(answer.step, answer.due))
    for step, start in starts.items():
        place.axvline(start, color="lightgrey", linewidth=0.8)
        place.text(start, 1.0, f" {step}", rotation=90, fontsize=7, va="bottom")
    place.set(xlabel="seconds", ylabel="ms from when it was due", yscale="log")
    place.legend(loc="upper right")
    save(figure, folder / f"load_over_time{name}.svg")


def measure(place: Path, asked: Mapping[str, Request], processes: int) -> Measured:
    """Load a server of so many processes."""
    answers: list[Answer] = []
    steps, closed = {}, {}
    with Server(place, processes) as server:
        for kind, request in asked.items():
            load(server.url, [Step("warm up", 20, [request] * WARM_UP)], place)
            closed[kind] = one_after_the_other(server.port, request, CLOSED_SECONDS)
            found = load(server.url, ladder(kind, request), place)
            steps[kind] = [
                of_step([one for one in found if one.step == f"{kind} {rate}"], rate)
                for rate in RATES[kind]
            ]
            before = max((one.due for one in answers), default=0.0)
            answers += [one._replace(due=before + one.due) for one in found]
        return Measured(answers, steps, closed, server.resident_mb())


def entries(found: Measured) -> list[Entry]:
    """The claims, second by second at the rate that is too high."""
    answers = [one for one in found.answers if one.step == f"page {HIGHEST}"]
    rates = good_a_second(answers)
    start = min(one.due for one in answers)
    by_second: dict[int, list[float]] = {}
    for one in answers:
        if one.is_good:
            by_second.setdefault(int(one.due - start), []).append(1000 * one.seconds)
    waits = [float(np.percentile(some, 99)) for some in by_second.values()]
    settings = Settings()
    room = settings.pages_at_once + settings.pages_waiting
    bounds = [1000 * room / rate for rate in found.closed["page"]]
    return [
        entry("load_page", rates, found.closed["page"], "pages/s", "higher", 0.8),
        entry("load_wait", waits, bounds, "ms", "lower", 1.5),
    ]


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    where = machine()
    found = {}
    with directory.folder() as name:
        asked = requests(directory.make(Path(name)))
        for processes in (1, 2) if FULL else (1,):
            found[processes] = measure(Path(name), asked, processes)
    results = {
        "machine": where,
        "versions": versions(("fastapi", "uvicorn", "locust")),
        "sizes": {
            "businesses": BUSINESSES,
            "photos_each": PHOTOS,
            "limit": LIMIT,
            "seconds_each": SECONDS,
        },
        "by_processes": {
            str(processes): {
                "by_rate": one.steps,
                "one_after_the_other": one.closed,
                "resident_mb": round(one.resident_mb),
            }
            for processes, one in found.items()
        },
    }
    lines = [
        f"{processes} {'process' if processes == 1 else 'processes'}, {line}"
        for processes, one in found.items()
        for line in one.lines
    ]
    if options.plots:
        for processes, one in found.items():
            draw(options.plots, "" if processes == 1 else f"_{processes}", one)
    report("load", results, lines, options.json, entries(found[1]))


if __name__ == "__main__":
    main()
