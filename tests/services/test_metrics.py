"""What Prometheus finds at a real worker, and what the broker says of its queues."""

from collections.abc import Callable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.backlog import backlog
from pipeline.queues import JOBS, QUEUES, Lane, Stage, error_queue
from pipeline.records import ImageState
from tests.services.conftest import Site
from tests.services.servers import free_port

pytestmark = pytest.mark.services

Scrape = Callable[[], dict[str, list[tuple[dict[str, str], float]]]]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def scrape(port: int) -> Scrape:
    """All samples of the worker at ``port``, by their names."""

    def scrape() -> dict[str, list[tuple[dict[str, str], float]]]:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text
        samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        return samples

    return scrape


def total(
    samples: dict[str, list[tuple[dict[str, str], float]]], name: str, **labels: str
) -> float:
    """The sum of the samples that have these labels."""
    return sum(value for found, value in samples.get(name, []) if labels.items() <= found.items())


def test_a_worker_tells_how_its_stages_went(any_site: Site, port: int, scrape: Scrape) -> None:
    site = any_site
    site.worker(JUSTLENS_METRICS_PORT=str(port))
    site.take_in(3)
    site.intake.accept_bytes("shop-1", 9, b"not an image")
    site.until(
        lambda: site.states() == {ImageState.DONE: 3, ImageState.FAILED: 1}, "all have ended"
    )
    site.until(lambda: total(scrape(), "justlens_images_in_flight") == 0, "the runs have ended")
    samples = scrape()
    for stage in Stage:
        labels = {"stage": stage.value, "outcome": "done"}
        assert total(samples, "justlens_stage_outcomes_total", **labels) == 3, stage
        assert total(samples, "justlens_stage_seconds_count", **labels) == 3
        assert total(samples, "justlens_stage_seconds_sum", **labels) > 0
        assert total(samples, "justlens_queue_wait_seconds_count", stage=stage.value) >= 3
    assert 0 <= total(samples, "justlens_queue_wait_seconds_sum") < 60
    parked = {"queue": Stage.ENHANCE.value, "exception": "UndecodableImage"}
    assert total(samples, "justlens_dead_letters_total", **parked) == 1
    assert backlog(site.app)[error_queue(Stage.ENHANCE.value), "all"] == 1
    assert total(samples, "justlens_batch_size_sum", model="enhancer") == 3
    for store in ("documents", "directory", "objects", "vectors"):
        assert total(samples, "justlens_store_seconds_count", store=store) > 0, store
    assert {labels["model"] for labels, _ in samples["justlens_model_load_seconds"]} >= {
        "enhancer",
        "image_text",
        "text",
    }
    assert total(samples, "process_resident_memory_bytes") > 0


def test_a_worker_whose_port_is_taken_works_without_figures(
    site: Site, port: int, scrape: Scrape
) -> None:
    site.worker(JUSTLENS_METRICS_PORT=str(port))
    site.until(lambda: _answers(scrape), "the first worker tells its figures")
    site.worker(name="second", JUSTLENS_METRICS_PORT=str(port))
    site.until(lambda: "no figures at JUSTLENS_METRICS_PORT" in site.logs(), "it says so")
    site.until(lambda: site.logs().count(" ready.") == 2, "both are ready")
    assert all(worker.poll() is None for worker in site.processes)


def test_what_waits_is_counted_by_queue_and_lane(any_site: Site) -> None:
    site = any_site
    site.take_in(2)
    site.intake.accept_bytes("shop-1", 7, b"a photo of a backfill", lane=Lane.BULK)
    depths = backlog(site.app)
    assert set(depths) == {
        *((queue, lane) for queue in QUEUES for lane in ("interactive", "bulk")),
        *((error_queue(queue), "all") for queue in (*QUEUES, "unrouted")),
    }
    assert depths[Stage.ENHANCE.value, "interactive"] == 2
    assert depths[Stage.ENHANCE.value, "bulk"] == 1
    assert depths[JOBS, "interactive"] == 0


def _answers(scrape: Scrape) -> bool:
    try:
        return bool(scrape())
    except httpx.HTTPError:
        return False
