"""Damage that is mended by real workers."""

import numpy as np
import pytest

from pipeline.backlog import depths
from pipeline.consistency import Consistency, Finding, Kind
from pipeline.dead_letters import Parking, Publisher
from pipeline.error_queues import ErrorQueues
from pipeline.forgetting import Forgetting
from pipeline.graph import Sender
from pipeline.records import AltTag, ImageState
from tests.pictures import green
from tests.services.conftest import Site

pytestmark = pytest.mark.services


def findings(site: Site, *, mend: bool = False) -> list[Finding]:
    """Nothing is too young to be told: no image is on its way."""
    forgetting = Forgetting(site.stores, ErrorQueues(site.app).withdraw)
    check = Consistency(
        site.stores,
        intake=site.intake,
        parking=Parking(site.stores.documents, Publisher(site.app)),
        forgetting=forgetting,
        depths=depths(Sender(site.app).backlog()),
        grace=-60,
    )
    return list(check.findings(mend=mend))


@pytest.mark.timeout(300)
def test_what_was_damaged_agrees_again(site: Site) -> None:
    stores, documents = site.stores, site.stores.documents
    site.worker()
    site.take_in(5)
    # The first two have the same bytes.
    site.intake.accept_bytes("shop-1", 6, green(1))
    site.until(lambda: site.states() == {ImageState.DONE: 6}, "all are done")
    assert findings(site) == []

    forgetting = Forgetting(stores, ErrorQueues(site.app).withdraw)
    assert forgetting.image("shop-1", 6)["objects"] == 0
    assert findings(site) == []
    assert forgetting.image("shop-1", 5)["objects"] == 2
    assert findings(site) == []

    enhancement = documents.metadata([("shop-1", 2)])["shop-1", 2].enhancement
    lost = documents.image("shop-1", 3)
    assert enhancement is not None
    assert lost is not None
    stores.vectors.delete_image("shop-1", 1)
    stores.objects.delete(enhancement.key)
    stores.objects.delete(lost.original_key)
    stores.directory.delete_alt_text("shop-1", 4)
    stores.objects.put("originals/orphan.bin", b"nobody's")
    documents.save_pixel_fact("f" * 64, "text", "m", {"text": ""})
    for docid, product_id in (("nobody", 9), ("shop-1", 5)):
        stores.vectors.save_image("m", "picture", docid, product_id, np.ones(16))
        stores.directory.save_alt_text(
            AltTag(docid=docid, product_id=product_id, alttag="a", score=0.5)
        )
    # Without a grace, what has just been sent counts as unfinished in the last comparison.
    mended = [one for one in findings(site, mend=True) if one.kind is not Kind.UNFINISHED]
    assert {(one.kind, one.what, one.outcome) for one in mended} == {
        (Kind.FACTS_WITHOUT_ROW, "f" * 64, "deleted"),
        (Kind.VECTORS_WITHOUT_ROW, "nobody/9", "deleted"),
        (Kind.ALT_TEXT_WITHOUT_ROW, "nobody/9", "deleted"),
        (Kind.LEFT_OF_DELETED, "shop-1/5", "deleted"),
        (Kind.ORPHANED_OBJECT, "originals/orphan.bin", "deleted"),
        (Kind.LOST_ORIGINAL, "shop-1/3", "parked"),
        (Kind.LOST_ENHANCED, "shop-1/2", "sent"),
        (Kind.INCOMPLETE, "shop-1/1", "sent"),
        (Kind.INCOMPLETE, "shop-1/4", "sent"),
    }
    ended = {ImageState.DONE: 3, ImageState.FAILED: 1, ImageState.DELETED: 2}
    site.until(lambda: site.states() == ended, "what was sent is done again")
    assert findings(site) == []
    assert stores.objects.exists(enhancement.key)
    (letter,) = documents.dead_letters()
    assert (letter.exception, letter.product_id) == ("ObjectMissing", 3)
