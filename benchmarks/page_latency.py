"""Claim: choosing the pictures of a page takes no longer than handing the page out.

A page is 25 businesses with 40 photos each. Baseline: a route of the same application that takes
the same request and returns the same answer, made beforehand, through the same response model,
serializer and middleware. Both take turns, one request at a time, without a network. The time
spent in the stores' methods, decoding included, is shown apart and left out of the ratio: at most
2 with a category, at most 4 with a query that nobody has asked before.

Then the same stores behind a real server: requests arrive at random, 20 a second, whether or not
the ones before them are answered (an open loop), and a request's time runs from when it was due.
One process answers, then two with ``FULL=1``: as many as there are cores, which the client has to
share. Target: 99 of 100 within 60 ms. Beside them stands the median of the same page above, which
waited for nobody; how far the two are apart is what waiting and the server cost.
"""

import asyncio
import gzip
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, FastAPI, Query, Response
from measuring import (
    FULL,
    Entry,
    arguments,
    directory,
    entry,
    figures,
    machine,
    ratio,
    report,
    versions,
)
from measuring.asking import StoreSeconds, ask
from measuring.directory import BUSINESSES, CATEGORIES, PHOTOS, UNLISTED, VOCABULARY, WANTED
from measuring.serving import WARM_UP, Server, open_loop

from api import relevancy
from api.capture import Capture
from api.relevancy import OneBusiness, PageRequest, Wanted
from api.wiring import Services, ServicesOf, application
from pipeline.graph import Sender
from pipeline.messages import DocId
from pipeline.serving import Page
from pipeline.settings import Settings

LIMIT = 10
REQUESTS = 150
RATE = 20.0
LOOP_SECONDS = 30.0 if FULL else 15.0
PROCESSES = (1, 2) if FULL else (1,)
RATIOS = {"page_category": 2.0, "page_query": 4.0}
P99_MS = 60.0

ONE = "/v1/relevance/shop-0"
PAGE = "/v1/relevance"


def cases(docids: list[str]) -> dict[str, Iterator[tuple[str, object]]]:
    """Endless requests by case: path and body."""

    def page(**wanted: str) -> tuple[str, object]:
        return PAGE, {"docids": docids, "limit": LIMIT, **wanted}

    # A query that was asked before is remembered: each of these is a new one.
    fresh = directory.misspelt(WARM_UP + REQUESTS + int(3 * RATE * LOOP_SECONDS))
    return {
        "one_business": itertools.repeat((f"{ONE}?category=Coffee+Shops&limit={LIMIT}", None)),
        "page_category": itertools.repeat(page(category=WANTED)),
        "page_query": (page(query=query) for query in fresh),
        # Nobody is listed under it: all 1,000 photos are scored at the query.
        "page_live": itertools.repeat(page(category=UNLISTED)),
    }


def with_baselines(services: Services, docids: list[str]) -> FastAPI:
    """The relevancy application and, beside its routes, ones that hand out what is ready."""
    router = APIRouter(prefix="/baseline")
    category = services.serving.page(docids, category=WANTED, limit=LIMIT)
    ready = {
        "page_category": category,
        "page_query": services.serving.page(docids, query="cofee shops", limit=LIMIT),
        "page_live": services.serving.page(docids, category=UNLISTED, limit=LIMIT),
    }
    one = relevancy.of_business(
        services, Capture(services, ""), "shop-0", Wanted(category=WANTED, limit=LIMIT)
    )

    @router.post("/{case}", response_model=Page)
    def a_page(services: ServicesOf, case: str, page: PageRequest) -> Response:
        return relevancy.written(ready[case])

    @router.get("/one_business/{docid}")
    def one_business(
        services: ServicesOf, docid: DocId, wanted: Annotated[Wanted, Query()]
    ) -> OneBusiness:
        return one

    return application(
        "benchmark", "", [relevancy.router, router], relevancy.NEEDS, lambda: services
    )


async def compare(
    services: Services, docids: list[str], asked: dict[str, Any]
) -> dict[str, dict[str, list[float]]]:
    """Seconds by case: of answers, of the stores in them, of the rest, and of baselines."""
    app = with_baselines(services, docids)
    stores = StoreSeconds()
    seconds: dict[str, dict[str, list[float]]] = {
        case: {"answer": [], "stores": [], "rest": [], "baseline": []} for case in asked
    }
    async with app.router.lifespan_context(app):
        await asyncio.to_thread(services.warm_up)
        with stores.watching(services):
            for number in range(WARM_UP + REQUESTS):
                for case, requests in asked.items():
                    path, body = next(requests)
                    stores.reset()
                    answer, content = await ask(app, path, body)
                    inside = stores.total
                    query = path.partition("?")[2]
                    place = f"{case}/shop-0?{query}" if query else case
                    baseline, ready = await ask(app, f"/baseline/{place}", body)
                    if number < WARM_UP:
                        _check(content, ready)
                        continue
                    found = {"answer": answer, "stores": inside, "baseline": baseline}
                    for name, taken in {**found, "rest": answer - inside}.items():
                        seconds[case][name].append(taken)
    return seconds


def _check(content: bytes, ready: bytes) -> None:
    """Whether the answers are of one size, so that the comparison is fair."""
    sizes = [len(gzip.decompress(one)) for one in (content, ready)]
    assert abs(sizes[0] - sizes[1]) < 0.02 * sizes[1], sizes


def claims(
    seconds: dict[str, dict[str, list[float]]], loops: dict[str, list[float]]
) -> list[Entry]:
    """Ratios without the stores, then the time within which 99 of 100 are answered under load."""
    found = []
    for case, most in RATIOS.items():
        ours, baseline = _in_ms(seconds[case]["rest"]), _in_ms(seconds[case]["baseline"])
        found.append(entry(case, ours, baseline, "ms", "lower", most))
    dice = np.random.default_rng(0)
    for case, taken in loops.items():
        idle = float(np.median(seconds[case]["answer"]))
        drawn = [np.percentile(dice.choice(taken, len(taken)), 99) / idle for _ in range(1000)]
        low, high = np.percentile(drawn, (2.5, 97.5))
        p99 = float(np.percentile(taken, 99))
        found.append(
            Entry(
                f"{case}_p99",
                round(1000 * p99, 2),
                round(1000 * idle, 2),
                round(p99 / idle, 3),
                (round(float(low), 3), round(float(high), 3)),
                "ms",
                "lower",
                P99_MS,
                "ours",
            )
        )
    return found


def _in_ms(seconds: list[float]) -> list[float]:
    return [1000 * one for one in seconds]


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    where = machine()
    with directory.folder() as name:
        place = Path(name)
        docids = directory.make(place)
        asked = cases(docids)
        services = Services(Settings(data_dir=place), Sender())
        seconds = asyncio.run(compare(services, docids, asked))
        under_load: dict[int, dict[str, list[float]]] = {}
        resident = 0.0
        for processes in PROCESSES:
            with Server(place, processes) as server:
                under_load[processes] = {
                    case: asyncio.run(open_loop(server.port, asked[case], RATE, LOOP_SECONDS))
                    for case in RATIOS
                }
                resident = max(resident, server.resident_mb())
    loops = {
        str(processes): {case: figures(taken) for case, taken in cases.items()}
        for processes, cases in under_load.items()
    }
    ratios = {case: ratio(ways["rest"], ways["baseline"]) for case, ways in seconds.items()}
    latency = {
        case: {way: figures(taken) for way, taken in ways.items()} for case, ways in seconds.items()
    }
    results = {
        "machine": where,
        "versions": versions(("fastapi", "starlette", "pydantic", "numpy", "onnxruntime")),
        "sizes": {
            "businesses": BUSINESSES,
            "photos_each": PHOTOS,
            "categories_each": CATEGORIES,
            "vocabulary": len(VOCABULARY),
            "limit": LIMIT,
        },
        "latency": latency,
        "without_stores_to_baseline": ratios,
        "open_loop": {"requests_a_second": RATE, "by_processes": loops},
        "resident_mb": round(resident),
    }
    lines = [
        f"{case:14} {latency[case]['answer']['median_ms']:6.1f} ms median, "
        f"{latency[case]['answer']['p99_ms']:.1f} p99, of it in the stores "
        f"{latency[case]['stores']['median_ms']:.1f}; made beforehand "
        f"{latency[case]['baseline']['median_ms']:.1f}; without the stores to baseline "
        f"{ratios[case]['ratio']:.2f} ({ratios[case]['low']:.2f} to {ratios[case]['high']:.2f})"
        for case in seconds
    ]
    lines += [
        f"{case:14} {RATE:.0f} requests/s, answered by {processes}: {found['median_ms']:.1f} ms "
        f"median, {found['p99_ms']:.1f} ms p99, {found['n']} requests"
        for processes, cases in loops.items()
        for case, found in cases.items()
    ]
    lines.append(f"a process of the server: {resident:.0f} MB resident")
    report("page_latency", results, lines, options.json, claims(seconds, under_load[1]))


if __name__ == "__main__":
    main()
