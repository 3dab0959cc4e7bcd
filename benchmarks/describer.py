"""Claim: 32 worker threads that ask a vision-language model on Triton lose little to the hand-over.

The client lives in an event loop of its own, spreads requests over servers and watches deadlines;
the describer also encodes pictures and reads answers. Baseline: tritonclient's own asyncio client
in its own loop, 32 requests in flight, the same tensors, nothing else. All take turns against one
and the same Triton, whose stand-in for LLaVA answers at once or after 50 ms; the claim is of the
latter, since real models take longer still.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from measuring import FULL, arguments, entry, figures, machine, ratio, report, versions
from tritonclient import grpc
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

# The stand-in is one of the tests', which are not installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from models import prompts
from models.describer_vision import jpeg
from models.triton import Triton
from models.triton_describer import TritonDescriber
from models.triton_models import OUTPUT, Llava
from tests.services.servers import triton
from tests.services.servers.triton.pictures import picture

CONCURRENCY = 32
ROUNDS = 12 if FULL else 6
DELAYS = {"at once": 0.0, "after 50 ms": 0.05}
CLAIMED = "after 50 ms"
REQUESTS = 400 if FULL else 300


class Baseline:
    """tritonclient's own loop."""

    def __init__(self, address: str, inputs: Callable[[int], list[InferInput]]) -> None:
        self._address = address
        self._inputs = inputs

    def __call__(self, count: int) -> list[float]:
        """Seconds of each request."""
        return asyncio.run(self._all(count))

    async def _all(self, count: int) -> list[float]:
        async with InferenceServerClient(self._address) as client:
            left = iter(range(count))
            seconds: list[float] = []

            async def ask() -> None:
                for number in left:
                    began = time.perf_counter()
                    await self._one(client, self._inputs(number))
                    seconds.append(time.perf_counter() - began)

            await asyncio.gather(*(ask() for _ in range(CONCURRENCY)))
            return seconds

    async def _one(self, client: InferenceServerClient, inputs: list[InferInput]) -> None:
        async def once() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": Llava.name, "inputs": inputs}

        async for result, error in client.stream_infer(once()):
            assert error is None
            assert result.as_numpy(OUTPUT).size == 1


def in_threads(ask: Callable[[int], None], count: int) -> list[float]:
    """Seconds of each call of `ask`."""

    def one(number: int) -> float:
        began = time.perf_counter()
        ask(number)
        return time.perf_counter() - began

    with ThreadPoolExecutor(CONCURRENCY) as threads:
        return list(threads.map(one, range(count)))


def draw(found: dict[str, dict], path: Path) -> None:
    """Throughput and latency of each way, beside each other."""
    from measuring.plots import save, subplots

    figure, panels = subplots(1, 3, figsize=(9, 2.8))
    titles = {
        "requests_per_second": "requests a second",
        "median_ms": "a request, median, ms",
        "p99_ms": "a request, 99th percentile, ms",
    }
    for panel, (what, title) in zip(panels, titles.items(), strict=True):
        for place, (name, figure_) in enumerate(found.items()):
            values = [
                figure_[what][way] if what in figure_ else latency[what]
                for way, latency in figure_["latency"].items()
            ]
            where = [at + (place - 0.5) * 0.4 for at in range(len(values))]
            bars = panel.bar(where, values, 0.38, label=f"answers {name}")
            panel.bar_label(bars, fmt="%.0f", fontsize=7)
        panel.set_xticks(range(len(values)), list(figure_["latency"]))
        panel.set_title(title, loc="left", fontsize=9)
    panels[0].legend(loc="lower left", fontsize=7)
    save(figure, path)


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    where = machine()
    pictures = [picture(number) for number in range(1, 65)]
    files = [jpeg(image) for image in pictures]
    prompt = prompts.named(prompts.DEFAULT)
    question = prompt.question(["Patterns"])
    model = Llava()
    found: dict[str, dict] = {}
    rates: dict[str, dict[str, list[float]]] = {}
    p99s: dict[str, dict[str, list[float]]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        triton.running(Path(folder)) as (server,),
    ):
        limits: dict[str, Any]
        limits = {"deadline": 60.0, "timeout": 30.0, "concurrency": CONCURRENCY}
        client = Triton([server.address], model, **limits)
        describer = TritonDescriber(servers=[server.address], **limits)

        def inputs(number: int) -> list[InferInput]:
            return model.inputs(question, files[number % len(files)], prompt.max_tokens)

        def ask_client(number: int) -> None:
            client.ask(question, files[number % len(files)], prompt.max_tokens)

        def ask_describer(number: int) -> None:
            describer(
                pictures[number % len(pictures)],
                labels=(),
                text=None,  # type: ignore[arg-type]  # a model that looks needs no text
                business="",
                categories=["Patterns"],
            )

        with grpc.InferenceServerClient(server.address) as asking:
            served_by = asking.get_server_metadata().version
        baseline = Baseline(server.address, inputs)
        ways: dict[str, Callable[[int], list[float]]] = {
            "tritonclient": baseline,
            "client": lambda count: in_threads(ask_client, count),
            "describer": lambda count: in_threads(ask_describer, count),
        }
        for name, delay in DELAYS.items():
            server.take(delay)
            for ask in ways.values():
                ask(CONCURRENCY * 4)
            wholes: dict[str, list[float]] = {way: [] for way in ways}
            each: dict[str, list[float]] = {way: [] for way in ways}
            slow: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(ROUNDS):
                # Whoever goes first changes from round to round.
                order = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
                for way in order:
                    began = time.perf_counter()
                    taken = ways[way](REQUESTS)
                    wholes[way].append(time.perf_counter() - began)
                    each[way] += taken
                    slow[way].append(1000 * float(np.percentile(taken, 99)))
            p99s[name] = slow
            rates[name] = {way: [REQUESTS / whole for whole in wholes[way]] for way in ways}
            found[name] = {
                "requests_per_second": {
                    way: round(float(np.median(rates[name][way])), 1) for way in ways
                },
                "latency": {way: figures(each[way]) for way in ways},
                **{
                    f"{way}_to_tritonclient": ratio(rates[name][way], rates[name]["tritonclient"])
                    for way in ("client", "describer")
                },
            }
        client.close()
        describer.unload()

    results = {
        "machine": where,
        "versions": {
            **versions(("tritonclient", "grpcio", "json-repair", "numpy")),
            "triton": served_by,
        },
        "sizes": {
            "concurrency": CONCURRENCY,
            "rounds": ROUNDS,
            "requests": REQUESTS,
            "jpeg_bytes": int(np.mean([len(file) for file in files])),
        },
        "answers": found,
    }
    lines = []
    for name, figure in found.items():
        for way, rate in figure["requests_per_second"].items():
            latency = figure["latency"][way]
            lines.append(
                f"{name:12} {way:13} {rate:8.1f} requests/s, "
                f"{latency['median_ms']:.1f} ms (median), {latency['p99_ms']:.1f} ms (p99)"
            )
        for way in ("client", "describer"):
            to = figure[f"{way}_to_tritonclient"]
            lines.append(
                f"{name:12} throughput, {way} to tritonclient: {to['ratio']:.2f} "
                f"({to['low']:.2f} to {to['high']:.2f})"
            )
    claimed = rates[CLAIMED]
    entries = [
        entry(
            "describer",
            claimed["describer"],
            claimed["tritonclient"],
            "requests/s",
            "higher",
            0.8,
        ),
        entry(
            "describer_p99",
            p99s[CLAIMED]["describer"],
            p99s[CLAIMED]["tritonclient"],
            "ms",
            "lower",
            1.5,
        ),
    ]
    if options.plots:
        draw(found, options.plots / "describer.svg")
    report("describer", results, lines, options.json, entries)


if __name__ == "__main__":
    main()
