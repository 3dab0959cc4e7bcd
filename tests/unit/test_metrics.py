"""The figures of processes, and that the dashboard asks for figures that exist."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from api import ingest, relevancy
from api.wiring import Services, application
from pipeline.dead_letters import Parking, letter_from
from pipeline.errors import StoreUnavailable
from pipeline.metrics import ENHANCED, MOST_ASIDE, count_later, stamp, waited_seconds
from pipeline.queues import Lane, Stage
from pipeline.records import CatalogueImage, ImageState
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores
from pipeline.stores.documents import DocumentStore
from tasks.batcher import Batcher
from tests.figures import known_samples
from tests.shops import Outbox

DASHBOARD = Path(__file__).resolve().parents[2] / "docker" / "grafana" / "justlens.json"


def value(name: str, **labels: str) -> float:
    """A sample of this process; 0 where there is none yet."""
    return REGISTRY.get_sample_value(f"justlens_{name}", labels) or 0.0


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    """Embedded stores."""
    stores = open_stores(Settings(data_dir=tmp_path))
    yield stores
    stores.close()


@pytest.fixture
def app() -> Iterator[Celery]:
    """An application whose tasks are run here, by Celery's own tracer."""
    app = Celery("figures", set_as_current=False)
    app.conf.update(task_always_eager=True, broker_url="memory://")
    yield app
    app.close()


@pytest.mark.parametrize(
    ("result", "outcome"),
    [({"outcome": "failed"}, "failed"), ({"sent": 3}, "done"), (None, "done")],
)
def test_a_run_is_timed_under_the_outcome_that_it_tells(
    app: Celery, result: object, outcome: str
) -> None:
    name = f"a run that returns {result}"
    running = []

    @app.task(name=name)
    def run() -> object:
        running.append(value("images_in_flight", stage=name))
        time.sleep(0.02)
        return result

    run.apply()
    assert running == [1]
    assert value("images_in_flight", stage=name) == 0
    assert value("stage_outcomes_total", stage=name, outcome=outcome) == 1
    assert 0.02 <= value("stage_seconds_sum", stage=name, outcome=outcome) < 5


def test_a_runs_time_on_a_core_is_apart_from_its_waiting(app: Celery) -> None:
    @app.task(name="computes and waits")
    def run() -> None:
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        time.sleep(0.2)

    run.apply()
    assert 0.02 <= value("stage_cpu_seconds_total", stage="computes and waits") < 0.2


def test_figures_put_aside_are_counted_in_their_order_once_there_are_many() -> None:
    counted: list[int] = []
    for number in range(MOST_ASIDE + 1):
        count_later(counted.append, number)
    # Others may be among them.
    assert counted
    assert counted == list(range(len(counted)))
    REGISTRY.get_sample_value("none of ours")
    assert counted == list(range(MOST_ASIDE + 1))


def test_where_others_answer_for_a_process_nothing_is_put_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.metrics._AT_ONCE", True)
    counted: list[int] = []
    count_later(counted.append, 1)
    assert counted == [1]


def test_a_run_that_raises_has_stopped(app: Celery) -> None:
    @app.task(name="raises")
    def raises() -> None:
        raise ValueError

    raises.apply()
    assert value("stage_outcomes_total", stage="raises", outcome="stopped") == 1
    assert value("images_in_flight", stage="raises") == 0


def test_a_retry_is_counted_by_its_cause(app: Celery) -> None:
    @app.task(name="retries", bind=True, max_retries=2)
    def retries(self: Any) -> None:
        if self.request.retries < 2:
            raise self.retry(exc=StoreUnavailable("away"), countdown=0)

    retries.apply()
    assert value("retries_total", stage="retries", exception="StoreUnavailable") == 2
    assert value("stage_outcomes_total", stage="retries", outcome="retried") == 2
    assert value("stage_outcomes_total", stage="retries", outcome="done") == 1


def test_every_message_bears_the_time_at_which_it_was_sent() -> None:
    app = Celery("sender", set_as_current=False, broker="memory://")

    @app.task(name="waits")
    def waits() -> None: ...

    began = time.time()
    waits.apply_async(headers={"sent_at": 1.0})
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue("celery").get(timeout=5)
        message.ack()
    app.close()
    assert began <= message.headers["sent_at"] <= time.time()


def test_waiting_begins_when_a_message_is_due() -> None:
    headers: dict[str, Any] = {}
    stamp(headers)
    now = headers["sent_at"]
    assert waited_seconds(Context(headers), now + 3) == pytest.approx(3)
    due = Context(headers, eta=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(now + 10)))
    assert waited_seconds(due, now + 14) == pytest.approx(4, abs=1)
    assert waited_seconds(Context(headers), now - 5) == 0, "clocks differ"
    assert waited_seconds(Context({"sent_at": "noon"}), now) is None
    assert waited_seconds(Context({}), now) is None


def test_a_parked_failure_is_counted_by_queue_and_exception(stores: Stores) -> None:
    queue = Stage.TAG.value
    before = value("dead_letters_total", queue=queue, exception="ValueError")
    park(stores, queue)
    park(stores, "made-up-by-a-foreign-message")
    assert value("dead_letters_total", queue=queue, exception="ValueError") == before + 1
    assert value("dead_letters_total", queue="other", exception="ValueError") == 1


def park(stores: Stores, queue: str) -> None:
    letter = letter_from(queue=queue, task=queue, task_id="1", error=ValueError("no"))
    Parking(stores.documents, lambda *_: None).park(letter, ends_image=False)


def test_the_size_of_each_forward_pass_is_counted() -> None:
    passes, images = (
        value("batch_size_count", model="enhancer"),
        value("batch_size_sum", model="enhancer"),
    )
    batcher = Batcher(lambda _, items: list(items), 4, 30, ENHANCED.observe)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(batcher, range(8)))
    assert value("batch_size_count", model="enhancer") - passes == 2
    assert value("batch_size_sum", model="enhancer") - images == 8


def test_the_methods_of_every_store_are_timed(stores: Stores) -> None:
    calls = {
        "documents": ("businesses", (["shop"],)),
        "directory": ("categories", (["shop"],)),
        "objects": ("exists", ("originals/aa/bb.jpg",)),
        "vectors": ("texts", ("model", ["word"])),
    }
    for store, (method, arguments) in calls.items():
        before = value("store_seconds_count", store=store, method=method)
        getattr(getattr(stores, store), method)(*arguments)
        assert value("store_seconds_count", store=store, method=method) == before + 1
        assert value("store_seconds_sum", store=store, method=method) > 0
    assert isinstance(stores.documents, DocumentStore)


def test_a_call_of_a_store_that_fails_is_timed_too(stores: Stores) -> None:
    labels = {"store": "documents", "method": "image"}
    before = value("store_seconds_count", **labels)
    with pytest.raises(TypeError):
        stores.documents.image()  # type: ignore[call-arg]
    assert value("store_seconds_count", **labels) == before + 1


def test_what_waits_is_asked_of_the_broker_at_each_scrape(writer: TestClient) -> None:
    text = writer.get("/metrics").text
    assert 'justlens_queue_depth{lane="interactive",queue="image_tag_process"} 0.0' in text
    assert "justlens_broker_up 1.0" in text


def test_figures_are_there_when_the_broker_is_not(writer: TestClient, outbox: Outbox) -> None:
    outbox.is_down = True
    answer = writer.get("/metrics")
    assert answer.status_code == 200
    assert "justlens_broker_up 0.0" in answer.text
    assert "justlens_queue_depth{" not in answer.text
    assert "justlens_workers{" not in answer.text
    assert "justlens_store_seconds_count{" in answer.text


def test_a_queue_without_workers_has_none(writer: TestClient, outbox: Outbox) -> None:
    outbox.answering = {"one": ["image_jobs", "image_jobs.bulk"], "two": ["image_jobs"]}
    text = writer.get("/metrics").text
    assert 'justlens_workers{queue="image_jobs"} 2.0' in text
    assert 'justlens_workers{queue="image_tag_process"} 0.0' in text


def test_the_age_of_what_has_waited_longest_is_told_by_stage_and_lane(
    writer: TestClient, own_shops: Services
) -> None:
    documents = own_shops.stores.documents
    for number, lane, moved_at in (
        (1, Lane.INTERACTIVE, time.time() - 500),
        (2, Lane.INTERACTIVE, time.time() - 100),
        (3, Lane.BULK, time.time() + 100),
    ):
        documents.accept_image(CatalogueImage(docid="cafe", product_id=number, lane=lane))
        queued = {"state": ImageState.QUEUED, "stage": Stage.TAG, "moved_at": moved_at}
        documents.update_image("cafe", number, 1, queued)
    ages = {
        line.partition("{")[2].partition("}")[0]: float(line.rpartition(" ")[2])
        for line in writer.get("/metrics").text.splitlines()
        if line.startswith("justlens_oldest_message_seconds{")
    }
    assert ages == {
        'lane="interactive",stage="image_tag_process"': pytest.approx(500, abs=60),
        'lane="bulk",stage="image_tag_process"': 0.0,
    }


def test_each_dependency_is_told_to_answer_or_not(
    writer: TestClient, own_shops: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise StoreUnavailable("the store is away")

    monkeypatch.setattr(own_shops.stores.documents, "check", away)
    text = writer.get("/metrics").text
    assert 'justlens_dependency_up{dependency="documents"} 0.0' in text
    assert 'justlens_dependency_up{dependency="objects"} 1.0' in text
    assert "justlens_oldest_message_seconds" not in text
    assert "justlens_queue_depth{" in text


def test_the_free_share_of_the_disk_is_told(writer: TestClient) -> None:
    (line,) = (
        line
        for line in writer.get("/metrics").text.splitlines()
        if line.startswith("justlens_disk_free_ratio")
    )
    assert 0 < float(line.partition(" ")[2]) < 1


def test_an_application_that_needs_no_broker_asks_none(shops: Services) -> None:
    for module, asks in ((ingest, True), (relevancy, False)):
        app = application("test", "", [], module.NEEDS, lambda: shops)
        with TestClient(app) as client:
            assert ("justlens_broker_up" in client.get("/metrics").text) is asks


def test_answers_that_do_without_something_are_counted(
    writer: TestClient, own_shops: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("the store is away")

    monkeypatch.setattr(own_shops.stores.vectors, "texts", away)
    before = value("degraded_answers_total")
    answer = writer.get("/v1/relevance/cafe", params={"query": "something warm to drink"})
    assert answer.json()["degraded"]
    assert value("degraded_answers_total") == before + 1


def expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def test_every_metric_on_the_dashboard_exists(shops: Services) -> None:
    names = re.compile(r"\b[a-z]+_[a-z_]+(?=[{\[)])")
    named = {name for expression in expressions() for name in names.findall(expression)}
    assert len(named) > 15
    assert named - known_samples(shops) == set()


def test_the_dashboard_shows_what_operators_ask_for() -> None:
    shown = " ".join(expressions())
    for name in (
        "queue_depth",
        "oldest_message_seconds",
        "stage_seconds_bucket",
        "stage_outcomes_total",
        "dead_letters_total",
        "batch_size_sum",
        "store_seconds_bucket",
        "request_seconds_bucket",
        "degraded_answers_total",
    ):
        assert f"justlens_{name}" in shown
