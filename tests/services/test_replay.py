"""What was parked goes on by a command, and ends as if nothing had happened."""

import json
from typing import Any

import pytest

from cli import main
from pipeline.graph import next_stage
from pipeline.queues import JOBS, Stage
from pipeline.records import ImageState
from tests.processes import Command
from tests.services.conftest import Site

pytestmark = pytest.mark.services

DESCRIBE = Stage.DESCRIBE.value
# Different in any two runs.
PASSING = {"detail", "ended_at", "seconds", "task_id", "moved_at", "accepted_at", "correlation_id"}


@pytest.fixture
def site(site_of_each_profile: Site) -> Site:
    return site_of_each_profile


def run(site: Site, *arguments: str) -> Any:
    """What ``justlens dlq`` with these arguments printed as JSON."""
    output = site.folder / "output"
    output.unlink(missing_ok=True)
    command = Command(main, ["justlens", "dlq", *arguments, "--json"], site.environment, output)
    assert command.wait(60) == 0, output.read_text()
    return json.loads(output.read_text())


def left_behind(site: Site, numbers: range) -> Any:
    """All that is known of some images, without what differs in any two runs."""
    keys = [("shop-1", number) for number in numbers]
    metadata = site.stores.documents.metadata(keys)
    rows = site.stores.documents.relevance(["shop-1"], [0, 1, 2])
    texts = site.stores.directory.alt_texts_of(keys)
    return json.loads(
        json.dumps(
            {
                "metadata": [metadata[key].model_dump(mode="json") for key in keys],
                "relevance": [row.model_dump(mode="json") for row in rows],
                "texts": [texts[key].alttag for key in keys],
            },
            sort_keys=True,
        ),
        object_hook=lambda entry: {k: v for k, v in entry.items() if k not in PASSING},
    )


def test_a_replay_leaves_what_an_undisturbed_run_would_have_left(site: Site) -> None:
    whole = site.worker()
    site.take_in(3)
    site.until(lambda: site.states() == {ImageState.DONE: 3}, "three are done")
    # On MongoDB the record of the last stage is written after that.
    site.until(lambda: all(is_recorded(site, number) for number in range(1, 4)), "it is written")
    expected = left_behind(site, range(1, 4))
    whole.terminate()
    whole.wait(30)
    for number in range(1, 4):
        site.stores.documents.delete_image("shop-1", number)

    broken = site.worker(name="broken", TEST_DESCRIBER_RAISES="1")
    site.take_in(3)
    site.until(lambda: len(site.parked(DESCRIBE)) == 3, "three are parked")
    site.until(lambda: site.states().get(ImageState.DONE) == 3, "and went on without")
    assert described(site) == {"failed"}
    for row in site.stores.documents.relevance(["shop-1"], [1]):
        assert set(row.parts) == {"image", "image_cosine"}
    broken.terminate()
    broken.wait(30)
    listed = run(site, "list", "--queue", DESCRIBE, "--exception", "ValueError")
    assert {letter["product_id"] for letter in listed} == {1, 2, 3}

    site.worker(name="mended")
    results = run(site, "replay", "--queue", DESCRIBE)
    assert {result["outcome"] for result in results} == {"sent"}
    assert run(site, "list") == []
    assert site.parked(DESCRIBE) == []

    site.until(lambda: described(site) == {"done"}, "all three are described")
    site.until(lambda: site.states().get(ImageState.DONE) == 3, "and done")

    def found() -> Any:
        left = left_behind(site, range(1, 4))
        # The photos were handed in anew.
        for entry in (*left["metadata"], *left["relevance"]):
            entry["generation"] = 1
        return left

    site.until(lambda: found()["metadata"] == expected["metadata"], "the last record is written")
    assert found() == expected


def is_recorded(site: Site, number: int) -> bool:
    """Whether all stages of an image have a record."""
    key = "shop-1", number
    return next_stage(site.stores.documents.metadata([key]).get(key)) is None


def described(site: Site) -> set[str]:
    """How the describe stage ended for the images."""
    known = site.stores.documents.metadata([("shop-1", number) for number in range(1, 4)])
    return {metadata.stages[DESCRIBE].outcome for metadata in known.values()}


def test_of_many_that_are_parked_those_named_go_and_the_others_stay(site: Site) -> None:
    site.worker()
    for number in range(5):
        site.publish(JOBS, f"broken {number}".encode(), content_type="application/json")
    # What is parked is recorded after that.
    letters = site.stores.documents.every_dead_letter
    site.until(lambda: len([*letters()]) == len(site.parked(JOBS)) == 5, "five are parked")
    keys = {letter["args"][0]: letter["key"] for letter in site.parked(JOBS)}
    assert run(site, "drop", keys["broken 1"], keys["broken 3"]) == {"dropped": 2}
    left = sorted(letter["args"][0] for letter in site.parked(JOBS))
    assert left == ["broken 0", "broken 2", "broken 4"]
    assert len(run(site, "list")) == 3
    # Sent back as it came, what is broken is parked again, as a failure of its own.
    (result,) = run(site, "replay", keys["broken 0"])
    assert result["outcome"] == "sent"
    site.until(
        lambda: len(site.parked(JOBS)) == 3 and keys["broken 0"] not in map_keys(site), "it is back"
    )


def map_keys(site: Site) -> set[str]:
    return {letter["key"] for letter in site.parked(JOBS)}
