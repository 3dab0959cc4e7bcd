"""Claim: the graph adds little to what its models cost.

Images a second through all six stages, in two workers as ``justlens up`` starts them, with models
that cost nothing, the quality model among them, and pictures so small that pixels cost little.
Baseline: a chain and a chord of the same shape written by hand on Celery and the bare drivers
(``measuring/by_hand.py``): the same message, broker, result backend, acknowledgement, pool, threads
and prefetch, and the transactions that a run of ours was counted to need, of the same sizes. Both
have workers that wait all the time, and take turns: each round a batch of images from accepted rows
to the end of the graph.

With ``--profile`` or ``--plots`` the workers of both are looked at by py-spy once more, after the
rounds that count.
"""

import contextlib
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import redis
from celery.__main__ import main as celery
from measuring import FULL, arguments, entry, machine, report, versions
from measuring.free_models import SMALL
from measuring.plots import save, subplots
from measuring.profiling import NoProfile, profiled

# Brokers and workers are started as by the tests, which are not installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from cli.processes import threads
from pipeline.graph import Sender, message_for
from pipeline.ingest import Intake
from pipeline.joins import join_server
from pipeline.queues import SLOTS, Stage
from pipeline.records import Business, CatalogueImage, Category, ImageState
from pipeline.settings import Settings
from tests.pictures import green
from tests.processes import Command
from tests.services.conftest import Site
from tests.services.servers import mariadb, rabbitmq

# On RabbitMQ the ratio is nearer to its target; its rounds differ by a third.
ROUNDS = {"graph_embedded": 60 if FULL else 12, "graph_rabbitmq": 60}
IMAGES = 100 if FULL else 30
# Images whose runs are counted.
COUNTED = 12
# Rounds that are looked at by py-spy.
LOOKED_AT = 4
LIMIT = 300.0
POLL = 0.01

GPU = (Stage.ENHANCE, Stage.TAG, Stage.ALT_TEXT)
CPU = (Stage.UPDATE, Stage.DESCRIBE, Stage.SCORE)
POOLS = {"gpu": GPU, "cpu": CPU}
OWN = "by_hand."
SHOPS = 5
CATEGORIES = ("Barber", "Bakery", "Green Paint", "Coffee Shop", "Dental Clinic")
REDIS = os.environ.get("JUSTLENS_TEST_REDIS_URL", "redis://127.0.0.1:6379/8")

# The site of the tests takes an image for stuck after seconds. Shortly before that, a stage writes
# that it has begun.
AS_BY_DEFAULT = {"JUSTLENS_STUCK_AFTER": str(Settings.model_fields["stuck_after"].default)}

WAYS = ("ours", "baseline")

Step = dict[str, Any]
Transactions = list[tuple[str, list[Step]]]


def until(count: Callable[[], int], wanted: int) -> None:
    """Wait until so many images are done."""
    limit = time.monotonic() + LIMIT
    while count() < wanted:
        if time.monotonic() > limit:
            raise TimeoutError(f"{count()} of {wanted} images are done")
        time.sleep(POLL)


class Ours:
    """The product: a site with two workers."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.site = Site(folder, **SMALL, **AS_BY_DEFAULT, **environment)
        self._done = 0
        self._accepted = 0
        shops = [
            (
                Business(docid=f"paint-{number}", name="The Paint Shop"),
                [Category(catid=catid, name=name) for catid, name in enumerate(CATEGORIES, 1)],
            )
            for number in range(SHOPS)
        ]
        self.site.intake.save_businesses(shops)
        self._intake = Intake(self.site.stores, self.site.settings, lambda _image, _stage: None)
        self._rows = sqlite3.connect(folder / "documents.db", isolation_level=None)

    def start(self, application: str = "tasks", **environment: str) -> list[Command]:
        """Its workers."""
        return [
            worker(self.site, application, pool, stages, "", **environment)
            for pool, stages in POOLS.items()
        ]

    def accept(self, count: int) -> list[CatalogueImage]:
        """Rows of new images, whose messages are not sent yet."""
        images = []
        for _ in range(count):
            self._accepted += 1
            key = f"paint-{self._accepted % SHOPS}", self._accepted
            self._intake.accept_bytes(*key, green(self._accepted))
            image = self.site.stores.documents.image(*key)
            assert image is not None, key
            images.append(image)
        return images

    def run(self, count: int) -> float:
        """Seconds that so many images take."""
        images = self.accept(count)
        began = time.perf_counter()
        for image in images:
            self.site.intake._send(image, Stage.ENHANCE)
        self._done += count
        until(self._count, self._done)
        return time.perf_counter() - began

    def _count(self) -> int:
        query = f"SELECT count(*) FROM catalogue_details WHERE state = '{ImageState.DONE}'"
        return self._rows.execute(query).fetchone()[0]


class ByHand:
    """The baseline: an application of its own with two workers."""

    def __init__(self, site: Site, plan: dict[str, Any], folder: Path) -> None:
        path = folder / "plan.json"
        path.write_text(json.dumps(plan))
        os.environ["BY_HAND"] = str(path)
        # It reads where its broker is as it is imported, and there are two in turn.
        sys.modules.pop("measuring.by_hand", None)
        by_hand = import_module("measuring.by_hand")
        self._site = site
        self._path = path
        self._canvas = by_hand.canvas
        self._application = by_hand.app
        self._done = 0
        for name, store in by_hand.open_stores(plan).items():
            answers = {
                step.get("answer", 0)
                for transactions in plan["stages"].values()
                for target, steps in transactions
                if target == name
                for step in steps
            }
            store.prepare(sorted(answers))
        last = plan["stages"][Stage.ALT_TEXT.value]
        self._last = [
            step["number"]
            for target, steps in last
            if target == "documents"
            for step in steps
            if step["verb"] in ("INSERT", "UPDATE")
        ][-1]
        self._rows = sqlite3.connect(plan["stores"]["documents"][1], isolation_level=None)
        with by_hand.app.connection_for_write() as connection:
            for queue in by_hand.app.amqp.queues.values():
                queue(connection.default_channel).declare()

    def start(self) -> list[Command]:
        """Its workers."""
        return [
            worker(
                self._site,
                "measuring.by_hand",
                pool,
                [f"{OWN}{stage.value}" for stage in stages],
                f"{sum(SLOTS[stage] for stage in stages)}",
                BY_HAND=str(self._path),
            )
            for pool, stages in POOLS.items()
        ]

    def run(self, count: int) -> float:
        """Seconds that so many images take."""
        images = [
            CatalogueImage(docid=f"paint-{number % SHOPS}", product_id=self._done + number + 1)
            for number in range(count)
        ]
        messages = [message_for(image).encode() for image in images]
        began = time.perf_counter()
        for message in messages:
            self._canvas(message).apply_async()
        self._done += count
        until(self._count, self._done)
        return time.perf_counter() - began

    def _count(self) -> int:
        query = "SELECT count(*) FROM results WHERE step = ?"
        return self._rows.execute(query, (self._last,)).fetchone()[0]


def worker(
    site: Site, application: str, pool: str, queues: Sequence[str], slots: str, **environment: str
) -> Command:
    """A worker process of either side."""
    name = f"{application.rpartition('.')[2]}-{pool}"
    size = ["--pool", "threads", "--concurrency", slots] if slots else []
    process = Command(
        celery,
        [
            *("celery", "-A", application, "worker", "-n", f"{name}@%h", "--loglevel", "INFO"),
            *(*size, "-Q", ",".join(queues)),
        ],
        {**site.environment, **threads(1), **environment},
        site.folder / f"{name}.log",
    )
    site.processes.append(process)
    return process


def counted(ours: Ours, images: int) -> dict[str, Transactions]:
    """What a run of each stage asks of its stores: of all that ran, the one of median length."""
    path = ours.site.folder / "counts"
    # One after the other: what several write at once is committed in the name of one of them.
    processes = ours.start("measuring.counting", COUNTS=str(path), JUSTLENS_BATCH_WAIT="0")
    for _ in range(images):
        ours.run(1)
    for process in processes:
        process.terminate()
        process.wait(30)
    runs = defaultdict(list)
    for line in path.read_text().splitlines():
        run = json.loads(line)
        runs[run["stage"]].append(transactions(run["steps"]))
    number = 0
    plan = {}
    for stage in Stage:
        ordered = sorted(runs[stage.value], key=size)
        plan[stage.value] = ordered[len(ordered) // 2]
        for _, steps in plan[stage.value]:
            for step in steps:
                number += 1
                step["number"] = number
    return plan


def transactions(steps: Sequence[Step]) -> Transactions:
    """The steps of a run, put together as they were committed."""
    whole: Transactions = []
    open_: dict[str, list[Step]] = {}
    for step in steps:
        store, verb = step["store"], step["verb"]
        if store == "objects":
            whole.append((store, [step]))
        elif verb == "BEGIN":
            open_[store] = []
        elif verb in ("COMMIT", "ROLLBACK"):
            found = [one for one in open_.pop(store, []) if one["verb"] in STATEMENTS]
            if found:
                whole.append((store, found))
        elif store in open_ or (store == "server" and not step["alone"]):
            # A server begins by itself.
            open_.setdefault(store, []).append({"answer": 0, **step})
        elif verb in STATEMENTS:
            whole.append((store, [{"answer": 0, **step}]))
    return whole


STATEMENTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


def size(run: Transactions) -> tuple[int, int]:
    return len(run), sum(len(steps) for _, steps in run)


def trips(plan: dict[str, Transactions]) -> dict[str, int]:
    """Round trips of one image, by kind."""
    found: Counter[str] = Counter()
    for run in plan.values():
        for store, steps in run:
            if store == "objects":
                found[f"objects {steps[0]['verb']}"] += 1
                continue
            writes = any(step["verb"] != "SELECT" for step in steps)
            found[f"{store} {'written' if writes else 'read'}"] += 1
    return dict(sorted(found.items()))


@contextlib.contextmanager
def embedded(folder: Path) -> Iterator[dict[str, str]]:
    """Valkey for a broker; SQLite and a folder for stores."""
    yield {}


@contextlib.contextmanager
def on_rabbitmq(folder: Path) -> Iterator[dict[str, str]]:
    """RabbitMQ, joins on Redis, MariaDB for relational rows; documents and vectors on SQLite."""
    with (
        rabbitmq.virtual_host(folder / "rabbitmq") as broker,
        mariadb.running(folder / "mariadb") as server,
        server.database() as rows,
        redis.Redis.from_url(REDIS) as joins,
    ):
        before = set(joins.scan_iter(count=1000))
        yield {
            "JUSTLENS_BROKER_URL": broker,
            "JUSTLENS_RESULT_URL": REDIS,
            "JUSTLENS_RELATIONAL_URL": rows,
        }
        if left := set(joins.scan_iter(count=1000)) - before:
            joins.delete(*left)


SETUPS = {"graph_embedded": embedded, "graph_rabbitmq": on_rabbitmq}


def where(site: Site, folder: Path) -> dict[str, tuple[str, str]]:
    """The baseline's stores: of the same kinds, in the same file system or on the same server."""
    stores = {
        name: ("sqlite", str(folder / f"{name}.db"))
        for name in ("documents", "vectors", "directory")
    }
    if site.settings.relational_url.startswith("mysql"):
        stores["server"] = ("server", site.settings.relational_url)
    return {**stores, "objects": ("folder", str(folder / "objects"))}


def spent(workers: Sequence[Command]) -> float:
    """Milliseconds of a processor that they have taken so far."""
    times = [psutil.Process(worker.pid).cpu_times() for worker in workers]
    return sum(1000 * (time.user + time.system) for time in times)


def measure(name: str, folder: Path, *, look: bool) -> dict[str, Any]:
    """Images a second and processor time of each round of both, and what was counted.

    Args:
        look: where their time goes, too.
    """
    with contextlib.ExitStack() as stack:
        ours = Ours(folder / "ours", **stack.enter_context(SETUPS[name](folder)))
        stack.callback(ours.site.close)
        site = ours.site
        plan = counted(ours, COUNTED)
        own = folder / "by_hand"
        own.mkdir()
        written = {
            "broker": site.settings.broker_url,
            "results": site.settings.result_url,
            "stores": where(site, own),
            "stages": plan,
        }
        by_hand = ByHand(site, written, own)
        sides: dict[str, Ours | ByHand] = {"ours": ours, "baseline": by_hand}
        workers = {way: side.start() for way, side in sides.items()}
        for side in sides.values():
            side.run(IMAGES)
        rates: dict[str, list[float]] = {way: [] for way in sides}
        processor: dict[str, list[float]] = {way: [] for way in sides}
        for number in range(ROUNDS[name]):
            for way in list(sides)[:: 1 if number % 2 else -1]:
                before = spent(workers[way])
                rates[way].append(IMAGES / sides[way].run(IMAGES))
                processor[way].append((spent(workers[way]) - before) / IMAGES)
        found = {
            "servers": servers(site),
            "images_a_second": rates,
            "processor_ms": processor,
            "trips": trips(plan),
        }
        if look:
            with contextlib.suppress(NoProfile):
                found["where_ms"] = {
                    way: profiled([one.pid for one in workers[way]], partial(looked_at, side))
                    for way, side in sides.items()
                }
        return found


def servers(site: Site) -> str:
    """The broker, what joins the chords, and what has the rows; each with its version."""
    found = (
        Sender(site.app).broker(),
        join_server(site.settings.result_url),
        site.stores.directory.version(),
    )
    return ", ".join(dict.fromkeys(found))


def looked_at(side: Ours | ByHand) -> int:
    """Rounds for the profile; returns how many images it was."""
    for _ in range(LOOKED_AT):
        side.run(IMAGES)
    return LOOKED_AT * IMAGES


def where_it_goes(found: Mapping[str, Any]) -> list[str]:
    """A table of milliseconds for each image by item, ours beside the baseline."""
    lines = []
    for name, result in found.items():
        if where := result.get("where_ms"):
            lines.append(f"{name}: ms of an image by item        ours  baseline")
            ordered = sorted(where["ours"], key=lambda item: -where["ours"][item])
            for item in ordered:
                values = "".join(f"{where[way][item]:10.1f}" for way in where)
                lines.append(f"    {item:28}{values}")
            totals = "".join(f"{sum(where[way].values()):10.1f}" for way in where)
            lines.append(f"    {'all':28}{totals}")
    return lines


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Stacked bars of where the processor's time goes, ours beside the baseline."""
    figure, axes = subplots(1, 1, figsize=(8, 3.2))
    bars = [
        (f"{name.removeprefix('graph_')}, {way}", where)
        for name, result in found.items()
        for way, where in result["where_ms"].items()
    ]
    bars.reverse()
    left = np.zeros(len(bars))
    for item in bars[0][1]:
        widths = np.array([where[item] for _, where in bars])
        axes.barh([label for label, _ in bars], widths, left=left, label=item)
        left += widths
    axes.set_xlabel("ms of processor time for each image, while holding the interpreter")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    save(figure, path)


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "", profile="say where the time goes")
    here = machine()
    look = bool(options.profile or options.plots)
    found = {}
    for name in SETUPS:
        with tempfile.TemporaryDirectory(prefix="justlens-graph-") as folder:
            (Path(folder) / "ours").mkdir()
            try:
                found[name] = measure(name, Path(folder), look=look)
                print(f"{name} is measured", file=sys.stderr)
            except (pytest.skip.Exception, redis.ConnectionError) as reason:
                print(f"{name} is not measured: {reason}")
    entries = [
        entry(
            name,
            result["images_a_second"]["ours"],
            result["images_a_second"]["baseline"],
            "images/s",
            "higher",
            0.8,
        )
        for name, result in found.items()
    ]
    results = {
        "machine": here,
        "versions": {
            **versions(("celery", "kombu", "sqlalchemy", "pydantic")),
            **{name: result["servers"] for name, result in found.items()},
        },
        "sizes": {**{f"rounds {name}": ROUNDS[name] for name in found}, "images": IMAGES},
        **found,
    }
    lines = []
    for name, result in found.items():
        processor = [float(np.median(result["processor_ms"][way])) for way in WAYS]
        asked = ", ".join(f"{what} {count}" for what, count in result["trips"].items())
        lines += [
            f"{name}: of each image, in both: {asked}",
            f"{name}: processor time of an image: ours {processor[0]:.1f} ms, "
            f"baseline {processor[1]:.1f} ms",
        ]
    lines += where_it_goes(found)
    if options.plots and all("where_ms" in result for result in found.values()):
        draw(found, options.plots / "graph.svg")
    report("graph", results, lines, options.json, entries)


if __name__ == "__main__":
    main()
