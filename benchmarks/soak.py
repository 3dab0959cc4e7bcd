"""Claim: the memory of a server under steady load does not grow.

A server as `justlens up` starts it, 20 requests a second at random, whether or not those before
them are answered: of 20, 7 are pages of 25 businesses for a category, 5 such pages for a query
that nobody has asked before, one a page whose 1,000 photos are scored live, 5 a single business, 2
batches of events. Memory is read twice a second, once the caches are filled by new queries, some
live pages were made at once, and the mix was asked for twice as often.

Baseline: the memory at the start of the measured time, as a straight line through it has it; ours:
at its end. The line goes through the means of 12 equal parts of the time, since single readings
depend on each other; the interval is that of its slope (Student's t). Target: the upper end of the
interval of the ratio, at most 1.02. Three minutes in all, an hour with FULL=1.
"""

import itertools
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import FULL, Entry, arguments, directory, machine, report, versions
from measuring.directory import BUSINESSES, PHOTOS, UNLISTED, WANTED
from measuring.load import Answer, Request, Step, load, percentiles
from measuring.plots import save, subplots
from measuring.serving import Server
from scipy import stats

RATE = 20.0
MEASURED_SECONDS = 3600.0 if FULL else 100.0
SETTLING_SECONDS = 120.0 if FULL else 35.0
# In an hour it counts when some are refused, and caches fill only while it is measured.
FILLING_RATE = 40.0 if FULL else 105.0
FILLING_SECONDS = 120.0 if FULL else 40.0
LIVE_AT_ONCE = 40
EVERY = 0.5
MEANS = 12
TARGET = 1.02
# Of the measured requests: what is not answered takes no memory.
MAY_FAIL = 0.01
LIMIT = 10

MIX = {"category": 7, "query": 5, "live": 1, "business": 5, "events": 2}


@dataclass(frozen=True)
class Trend:
    """Memory in MB by a straight line, with the 95 % interval of its slope, in MB per second."""

    start: float
    slope: float
    margin: float
    seconds: float

    @property
    def ends(self) -> tuple[float, float, float]:
        """Memory at the end: by the slope, by its lower and by its upper end."""
        slopes = self.slope, self.slope - self.margin, self.slope + self.margin
        return tuple(self.start + slope * self.seconds for slope in slopes)  # type: ignore[return-value]


def requests(docids: list[str]) -> dict[str, Iterator[Request]]:
    """Endless requests by kind."""
    page = {"docids": docids, "limit": LIMIT}
    one = f"/v1/relevance/{docids[0]}?category={WANTED.replace(' ', '+')}&limit={LIMIT}"
    fresh = directory.misspelt(round((2 * SETTLING_SECONDS + MEASURED_SECONDS) * RATE))
    numbers = itertools.count()

    def event(docid: str) -> dict[str, Any]:
        return {
            "event_id": f"soak-{next(numbers)}",
            "kind": "impression",
            "docid": docid,
            "product_id": 1,
            "position": 1,
            "slot": "dynamic",
            "source": "scores",
        }

    return {
        "category": itertools.repeat(
            ("category", "POST", "/v1/relevance", {**page, "category": WANTED})
        ),
        "query": (("query", "POST", "/v1/relevance", {**page, "query": query}) for query in fresh),
        "live": itertools.repeat(("live", "POST", "/v1/relevance", {**page, "category": UNLISTED})),
        "business": itertools.repeat(("business", "GET", one, None)),
        "events": (
            ("events", "POST", "/v1/events", {"events": [event(docid) for docid in docids]})
            for _ in itertools.count()
        ),
    }


def filling(docids: list[str]) -> Step:
    """Live pages, more at once than the mix ever has; then new queries, each for one business.

    The server takes as much memory and remembers as many queries as it ever does.
    """
    asked = list(itertools.islice(requests(docids)["live"], LIVE_AT_ONCE))
    count = round(FILLING_RATE * FILLING_SECONDS) - len(asked)
    path = f"/v1/relevance/{docids[0]}?query="
    asked += [("filling", "GET", f"{path}book+shop+{number}", None) for number in range(count)]
    return Step("filling", FILLING_RATE, asked)


def soaking(docids: list[str]) -> list[Step]:
    """The mix, at first unmeasured and twice as often, so that what is at once is behind it."""
    dice = random.Random(7)
    asked = requests(docids)

    def mixed(name: str, rate: float, seconds: float) -> Step:
        kinds = dice.choices(list(MIX), weights=list(MIX.values()), k=round(seconds * rate))
        return Step(name, rate, [next(asked[kind]) for kind in kinds])

    return [
        mixed("settling", 2 * RATE, SETTLING_SECONDS),
        mixed("soak", RATE, MEASURED_SECONDS),
    ]


def soak(place: Path, docids: list[str]) -> tuple[list[float], list[float], list[Answer]]:
    """Seconds and megabytes of each reading in the measured time, and every answer in it."""
    seconds, resident = [], []
    with Server(place, 1) as server, ThreadPoolExecutor(1) as asking:
        asked = asking.submit(load, server.url, [filling(docids), *soaking(docids)], place)
        while not asked.done():
            seconds.append(time.monotonic())
            resident.append(server.resident_mb())
            time.sleep(EVERY)
        answers = [answer for answer in asked.result() if answer.step == "soak"]
    # The last reading came with the last answer.
    last = max(answer.due + answer.seconds for answer in answers)
    start = seconds[-1] - (last - min(answer.due for answer in answers))
    first = next(place for place, second in enumerate(seconds) if second >= start)
    return [second - seconds[first] for second in seconds[first:]], resident[first:], answers


def trend(seconds: list[float], resident: list[float]) -> Trend:
    """The line through the means of equal parts of the time."""
    parts = zip(np.array_split(seconds, MEANS), np.array_split(resident, MEANS), strict=True)
    means = np.array([(np.mean(times), np.mean(values)) for times, values in parts])
    line = stats.linregress(means[:, 0] - seconds[0], means[:, 1])
    margin = stats.t.ppf(0.975, MEANS - 2) * line.stderr
    return Trend(float(line.intercept), float(line.slope), float(margin), seconds[-1] - seconds[0])


def draw(path: Path, seconds: list[float], resident: list[float], found: Trend) -> None:
    """Memory over time, and its trend."""
    figure, place = subplots(figsize=(8, 4))
    place.plot(seconds, resident, linewidth=1, label="resident")
    end, _, _ = found.ends
    ends = [seconds[0], seconds[-1]]
    place.plot(ends, [found.start, end], color="black", label="trend")
    middle = found.start + found.slope * found.seconds / 2
    half = found.seconds / 2 * found.margin
    place.fill_between(
        [seconds[0], float(np.mean(ends)), seconds[-1]],
        [found.start - half, middle, end - half],
        [found.start + half, middle, end + half],
        color="black",
        alpha=0.15,
        label="95 % interval of its slope",
    )
    place.set(
        xlabel="seconds",
        ylabel="MB",
        ylim=(0, 1.25 * max(resident)),
        title=f"A server at {RATE:.0f} requests a second",
    )
    place.legend(loc="lower right")
    save(figure, path)


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    where = machine()
    with directory.folder() as name:
        seconds, resident, answers = soak(Path(name), directory.make(Path(name)))
    found = trend(seconds, resident)
    end, low, high = found.ends
    by_kind = {kind: [one for one in answers if one.kind == kind] for kind in MIX}
    per_hour = [3600 * slope for slope in (found.slope, found.slope - found.margin)]
    per_hour.append(3600 * (found.slope + found.margin))
    refused = sum(one.status == 503 for one in answers)
    failed = sum(not one.is_good for one in answers) - refused
    if refused + failed > MAY_FAIL * len(answers):
        raise SystemExit(f"error: of {len(answers)} requests {refused} refused, {failed} failed")
    results: dict[str, Any] = {
        "machine": where,
        "versions": versions(("fastapi", "uvicorn", "sqlalchemy", "onnxruntime", "locust")),
        "sizes": {
            "businesses": BUSINESSES,
            "photos_each": PHOTOS,
            "a_second": RATE,
            "seconds": round(found.seconds),
            "requests": len(answers),
        },
        "resident_mb": {"readings": len(resident), "least": min(resident), "most": max(resident)},
        "mb_an_hour": dict(zip(("slope", "low", "high"), per_hour, strict=True)),
        "latency": {kind: percentiles(some) for kind, some in by_kind.items()},
        "refused": refused,
        "failed": failed,
    }
    thousands = [value * found.seconds / 3.6 / len(answers) for value in per_hour]
    lines = [
        f"{kind:8} {len(some):6} requests, {results['latency'][kind]['p50_ms']:.1f} ms median, "
        f"{results['latency'][kind]['p99_ms']:.1f} p99"
        for kind, some in by_kind.items()
    ]
    lines += [
        f"refused {refused}, failed {failed}",
        f"memory {min(resident):.1f} to {max(resident):.1f} MB; trend {per_hour[0]:+.1f} MB an "
        f"hour ({per_hour[1]:+.1f} to {per_hour[2]:+.1f}), {thousands[0]:+.3f} MB per 1,000 "
        f"requests ({thousands[1]:+.3f} to {thousands[2]:+.3f})",
    ]
    if options.plots:
        draw(options.plots / "soak.svg", seconds, resident, found)
    ratios = [round(value / found.start, 4) for value in (end, low, high)]
    spread = ratios[1], ratios[2]
    claimed = Entry(
        "soak_memory",
        round(end, 1),
        round(found.start, 1),
        ratios[0],
        spread,
        "MB",
        "lower",
        TARGET,
        "spread",
    )
    report("soak", results, lines, options.json, [claimed])


if __name__ == "__main__":
    main()
