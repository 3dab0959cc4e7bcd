"""Claim: choosing the pictures of a page takes no longer than handing the page out.

A page is 25 businesses with 40 photos each. Baseline: a route of the same application that takes
the same request and returns the same answer, made beforehand, through the same response model,
serializer and middleware. Both take turns, one request at a time, without a network. The time
spent in the stores' methods, decoding included, is shown apart and left out of the ratio: at most
2 with a category, at most 4 with a query that nobody has asked before.

Then the same stores behind a real server: requests arrive at random, 20 a second, whether or not
the ones before them are answered (an open loop), and a request's time runs from when it was due.
"""

import asyncio
import gzip
import itertools
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
from fastapi import APIRouter, FastAPI
from measuring import arguments, directory, figures, machine, ratio, report, versions
from measuring.asking import StoreSeconds, ask
from measuring.directory import BUSINESSES, CATEGORIES, PHOTOS, UNLISTED, VOCABULARY, WANTED

from api import relevancy
from api.relevancy import OneBusiness, PageRequest
from api.wiring import Services, application
from pipeline.graph import Sender
from pipeline.serving import Page
from pipeline.settings import Settings

LIMIT = 10
REQUESTS = 150
WARM_UP = 20
RATE = 20.0
LOOP_SECONDS = 30.0
START_SECONDS = 120.0

ONE = "/v1/relevance/shop-0"
PAGE = "/v1/relevance"


def cases(docids: list[str]) -> dict[str, Iterator[tuple[str, object]]]:
    """Endless requests by case: path and body."""

    def page(**wanted: str) -> tuple[str, object]:
        return PAGE, {"docids": docids, "limit": LIMIT, **wanted}

    # A query that was asked before is remembered: each of these is a new one.
    fresh = directory.misspelt(WARM_UP + REQUESTS + int(2 * RATE * LOOP_SECONDS))
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
    one = relevancy.of_business(services, "shop-0", relevancy.Wanted(category=WANTED, limit=LIMIT))

    @router.post("/{case}")
    def a_page(case: str, page: PageRequest) -> Page:
        return ready[case]

    @router.get("/one_business")
    def one_business(category: str, limit: int) -> OneBusiness:
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
                    baseline, ready = await ask(app, f"/baseline/{case}?{query}", body)
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


class Server:
    """The relevancy application in a process of its own, on the stores in a folder."""

    def __init__(self, place: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "api.relevancy:app", "--port", str(port)],
            env={**os.environ, "JUSTLENS_DATA_DIR": str(place)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> "Server":
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/ready").json()["status"] == "ready":
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise RuntimeError("the server did not become ready")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def resident_mb(self) -> float:
        """Memory of the process that is in use, in MB."""
        return psutil.Process(self._process.pid).memory_info().rss / 1e6


async def open_loop(server: Server, requests: Iterator[tuple[str, object]]) -> list[float]:
    """Seconds from when each request was due until its answer was there."""
    dice = random.Random(3)
    seconds: list[float] = []

    async def one(client: httpx.AsyncClient, path: str, body: object, due: float) -> None:
        answer = await client.post(path, json=body)
        seconds.append(time.perf_counter() - due)
        answer.raise_for_status()

    # However late an answer is, it counts.
    async with httpx.AsyncClient(base_url=server.url, timeout=None) as client:
        for _ in range(WARM_UP):
            path, body = next(requests)
            (await client.post(path, json=body)).raise_for_status()
        due = time.perf_counter()
        until = due + LOOP_SECONDS
        async with asyncio.TaskGroup() as tasks:
            while (due := due + dice.expovariate(RATE)) < until:
                path, body = next(requests)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.create_task(one(client, path, body, due))
    return seconds


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
        with Server(place) as server:
            loops = {
                case: figures(asyncio.run(open_loop(server, asked[case])))
                for case in ("page_category", "page_query")
            }
            resident = server.resident_mb()
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
        "open_loop": {"requests_a_second": RATE, **loops},
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
        f"{case:14} {RATE:.0f} requests/s: {found['median_ms']:.1f} ms median, "
        f"{found['p99_ms']:.1f} ms p99, {found['n']} requests"
        for case, found in loops.items()
    ]
    lines.append(f"server: {resident:.0f} MB resident")
    report("page_latency", results, lines, options.json)


if __name__ == "__main__":
    main()
