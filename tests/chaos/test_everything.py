"""Whatever goes away in the middle of the work, each image is done or parked in the end, once.

The ``services`` profile on servers of its own. ``CHAOS_SEED`` sets the choices, ``CHAOS_IMAGES``,
``CHAOS_KILLS`` and ``CHAOS_RESTARTS`` the size: that of the suite unless `make chaos` says more.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import TransientError
from pipeline.queues import QUEUES, Stage, error_queue
from pipeline.records import ANY_CATEGORY, CatalogueImage, DeadLetter, ImageMetadata, ImageState
from pipeline.topology import UNROUTED_QUEUE
from tests.chaos import conftest
from tests.chaos.events import Events, Servers
from tests.pictures import encoded
from tests.processes import Command
from tests.services.conftest import Site
from tests.services.servers.triton.pictures import picture

pytestmark = pytest.mark.chaos

SEED = int(os.environ.get("CHAOS_SEED", "1"))
IMAGES = int(os.environ.get("CHAOS_IMAGES", "30"))
KILLS = int(os.environ.get("CHAOS_KILLS", "3"))
RESTARTS = int(os.environ.get("CHAOS_RESTARTS", "1"))
LIMIT = 120 + 2 * IMAGES

COMMAND = str(Path(sys.executable).parent / "justlens")
ENDED = (ImageState.DONE, ImageState.FAILED)
KEPT = {UNROUTED_QUEUE, *map(error_queue, QUEUES)}
NUMBERS = range(1, IMAGES + 1)
# Files that are no pictures.
SPOILT = set(NUMBERS[14::15])


@pytest.fixture
def servers(tmp_path: Path, s3_url: str, milvus_url: str) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path, s3_url, milvus_url, stack)


@pytest.fixture
def site(tmp_path: Path, servers: Servers) -> Iterator[Site]:
    site = Site(
        tmp_path,
        JUSTLENS_STUCK_AFTER="12",
        # An outage is outlived by retries, and seldom ends an image.
        JUSTLENS_RETRY_DELAY="1",
        JUSTLENS_MAX_RETRIES="6",
        **servers.environment,
    )
    yield site
    site.close()


@pytest.mark.timeout(600 + 2 * LIMIT)
def test_each_image_is_done_or_parked_exactly_once(site: Site, servers: Servers) -> None:
    events = Events(site, servers, seed=SEED, kills=KILLS, restarts=RESTARTS)
    beat = site.beat()
    spread = IMAGES / (len(events) + 2)
    with ThreadPoolExecutor(1) as producer:
        taken_in = producer.submit(take_in, site)
        for step in range(1, len(events) + 1):
            until_ended(site, step * spread)
            events.next()
        taken_in.result()
    until_ended(site, IMAGES)
    end(site, beat)
    until_idle(site, servers)
    for process in list(site.processes):
        end(site, process)

    documents = site.stores.documents
    rows = {row.product_id: row for row in documents.images(["shop-1"], limit=2 * IMAGES)}
    letters = documents.dead_letters(limit=10 * IMAGES)
    known = {key[1]: one for key, one in documents.metadata([*map(place, rows)]).items()}
    done = {number for number, row in rows.items() if row.state is ImageState.DONE}
    parked = {number for number, row in rows.items() if row.state is ImageState.FAILED}
    left, findings = at_work(servers) and at_work(servers), inconsistencies(site)
    conftest.COUNTS = (
        f"chaos, seed {SEED}: {IMAGES} images, {len(done)} done, {len(parked)} parked, "
        f"{len(letters)} dead letters, {sum(waits for waits, _ in left.values())} messages left, "
        f"{sum(held for _, held in left.values())} unacknowledged, "
        f"{sum(one['count'] for one in findings.values())} inconsistencies; "
        + ", ".join(f"{what} {n}" for what, n in sorted(events.happened.items()))
    )
    assert left == {}, "what a worker had not acknowledged has come back"
    assert findings == {}
    assert sorted(rows) == sorted(done | parked) == [*NUMBERS]
    assert parked >= SPOILT
    for number, row in rows.items():
        check_letters(row, known.get(number), [one for one in letters if one.product_id == number])
    in_queues = {letter["key"] for queue in QUEUES for letter in site.parked(queue)}
    assert in_queues == {letter.key for letter in letters}, "records and queues say the same"
    for number in done:
        check_metadata(site, rows[number], known[number])
    relevance = documents.relevance(["shop-1"], [ANY_CATEGORY, 1, 2])
    of_done = Counter(row.product_id for row in relevance if row.product_id in done)
    assert of_done == Counter(dict.fromkeys(done, 3)), "a row for each category"


def take_in(site: Site) -> None:
    """Hand in all images; each again and again until it is accepted."""
    for number in NUMBERS:
        content = b"no picture" if number in SPOILT else encoded(picture(number))
        site.until(partial(is_accepted, site, number, content), f"{number} is accepted", LIMIT)


def is_accepted(site: Site, number: int, content: bytes) -> bool:
    try:
        site.intake.accept_bytes(*place(number), content)
    except TransientError:
        return False
    return True


def until_ended(site: Site, least: float) -> None:
    """Return when so many images are done or parked."""

    def have_ended() -> bool:
        try:
            states = site.states()
        except TransientError:
            return False
        return sum(states.get(state, 0) for state in ENDED) >= least

    # Counting is work for the document server, too.
    site.until(have_ended, f"{least:.0f} have ended, seed {SEED}", LIMIT, every=0.3)


def until_idle(site: Site, servers: Servers) -> None:
    """Return when no message is left, or after the limit, for the count to tell."""
    with suppress(pytest.fail.Exception):
        # A worker that is at a late copy of a message may still send the next one, which is seen
        # by the second look at the latest.
        site.until(lambda: not at_work(servers) and not at_work(servers), "nothing is left", LIMIT)


def end(site: Site, process: Command) -> None:
    """End it gracefully; if it does not, its log says where it stands."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        process.wait()
        pytest.fail(f"it does not end\n{site.logs()}")
    site.processes.remove(process)


def at_work(servers: Servers) -> dict[str, tuple[int, int]]:
    """Messages that wait and that are not acknowledged, by queue, those of delays included."""
    queues = servers.node.queues()
    return {
        name: (0 if name in KEPT else waits, held)
        for name, (waits, held) in queues.items()
        if held or (waits and name not in KEPT)
    }


def inconsistencies(site: Site) -> dict[str, Any]:
    """What an operator's check of the stores finds."""
    arguments = ["doctor", "--consistency", "--grace", "0s", "--json"]
    done = subprocess.run(
        [COMMAND, *arguments],
        env={**os.environ, **site.environment},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.stdout, done.stderr
    answer = json.loads(done.stdout)
    found = {kind: found for kind, found in answer["findings"].items() if found["count"]}
    assert (done.returncode, answer["consistent"]) == ((1, False) if found else (0, True))
    return found


def place(number: int) -> tuple[str, int]:
    return "shop-1", number


def check_letters(
    row: CatalogueImage, metadata: ImageMetadata | None, letters: list[DeadLetter]
) -> None:
    """One that is parked has one letter that says why; one that is done went on after its own."""
    causes = [f"{letter.exception}: {letter.message}" for letter in letters]
    if row.state is ImageState.FAILED:
        assert causes.count(row.failure) == 1, (row, causes)
    else:
        stages = metadata.stages if metadata else {}
        went_on = {name for name, record in stages.items() if record.outcome == "failed"}
        assert sorted(letter.queue for letter in letters) == sorted(went_on), (row, causes)


def check_metadata(site: Site, row: CatalogueImage, metadata: ImageMetadata) -> None:
    """One that is done has gone through each stage, in its first generation."""
    assert metadata.stages.keys() == {stage.value for stage in Stage}
    assert metadata.generation == row.generation == 1
    text = site.stores.directory.alt_text(*place(row.product_id))
    assert (text.alttag if text else "") == metadata.alt_text
