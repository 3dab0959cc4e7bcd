"""A business is forgotten whole, wherever the first call was killed."""

import json
import subprocess
import sys

import pytest

from pipeline.dead_letters import Publisher
from pipeline.error_queues import ErrorQueues
from pipeline.forgetting import Forgetting
from pipeline.queues import error_queue
from pipeline.records import Business, ImageState
from tests.belongings import QUEUE, leave, left
from tests.pictures import green
from tests.services.conftest import CATEGORIES, ROOT, Site

pytestmark = pytest.mark.services

SEED = 4
KILLS = 8
DOCIDS = [f"forgotten-{number}" for number in range(KILLS + 1)]


def test_what_a_killed_call_has_left_of_a_business_the_same_call_ends(
    site_of_each_profile: Site,
) -> None:
    site = site_of_each_profile
    site.stores.documents.delete_business("shop-1")
    for number, docid in enumerate(DOCIDS):
        site.intake.save_business(Business(docid=docid, name="A Shop"), CATEGORIES)
        for product_id in (1, 2):
            seed = 2 * number + product_id
            enhanced = f"enhanced/{seed:02}.png"
            photo = green(seed)
            publish = Publisher(site.app)
            leave(site.stores, site.intake, publish, docid, product_id, photo, enhanced)

    done = subprocess.run(
        [sys.executable, "-m", "tests.services.killed_forgetting", str(SEED), *DOCIDS],
        cwd=ROOT,
        env=site.environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    killed = json.loads(done.stderr.splitlines()[-1])
    assert list(killed) == DOCIDS[1:]
    assert left(site.stores).keys() >= {"objects", "vectors", "letters"}

    forgetting = Forgetting(site.stores, ErrorQueues(site.app).withdraw)
    for docid in DOCIDS:
        forgetting.business(docid)
    assert left(site.stores) == {}
    assert site.waiting(error_queue(QUEUE)) == []
    assert site.stores.documents.businesses(DOCIDS) == {}
    assert not any(site.stores.directory.categories(DOCIDS).values())
    assert site.states() == {ImageState.DELETED: 2 * len(DOCIDS)}
