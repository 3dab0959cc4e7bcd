"""The check of consistency on the stores of the services profile, each on a server."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.consistency import Consistency, Finding, Kind
from pipeline.dead_letters import Parking
from pipeline.forgetting import Forgetting
from pipeline.ingest import Intake
from pipeline.queues import Stage
from pipeline.records import ImageState
from pipeline.settings import Settings
from pipeline.stores import Stores, open_stores
from tests.shops import Outbox
from tests.unit.test_consistency import ENHANCED, NOTHING_WAITS, ORIGINAL, alt, lay

pytestmark = pytest.mark.services


def findings(stores: Stores, outbox: Outbox, *, mend: bool = False) -> list[Finding]:
    """Nothing is too young to be told."""
    queues = outbox.error_queues
    check = Consistency(
        stores,
        intake=Intake(stores, Settings(), outbox),
        parking=Parking(stores.documents, queues.park),
        forgetting=Forgetting(stores, queues.withdraw),
        depths=NOTHING_WAITS,
        grace=-60,
    )
    return list(check.findings(mend=mend))


def test_damage_is_told_and_mended(
    tmp_path: Path, mongo_url: str, mysql_url: str, s3_url: str, milvus_url: str
) -> None:
    stores = open_stores(
        Settings(
            data_dir=tmp_path,
            documents_url=mongo_url,
            relational_url=mysql_url,
            objects_url=s3_url,
            vectors_url=milvus_url,
        )
    )
    stores.prepare()
    outbox = Outbox()
    for number in range(1, 7):
        lay(stores, number)
    forgotten = Forgetting(stores, outbox.error_queues.withdraw).image("shop", 5)
    assert (forgotten["images"], forgotten["objects"], forgotten["vectors"]) == (1, 2, 2)
    assert findings(stores, outbox) == []

    stores.vectors.delete_image("shop", 1)
    stores.objects.delete(ENHANCED.format(2))
    stores.objects.delete(ORIGINAL.format(3))
    stores.directory.delete_alt_text("shop", 4)
    stores.objects.put("originals/orphan.bin", b"nobody's")
    stores.documents.save_pixel_fact("f" * 64, "text", "m", {"text": ""})
    for docid, number in (("nobody", 9), ("shop", 5)):
        stores.vectors.save_image("m", "picture", docid, number, np.ones(4))
        stores.directory.save_alt_text(alt(number, docid))
    told = {(one.kind, one.what) for one in findings(stores, outbox)}
    mended = [one for one in findings(stores, outbox, mend=True) if one.kind is not Kind.UNFINISHED]
    assert {(one.kind, one.what) for one in mended} == told
    assert {(one.kind, one.what, one.outcome) for one in mended} == {
        (Kind.FACTS_WITHOUT_ROW, "f" * 64, "deleted"),
        (Kind.VECTORS_WITHOUT_ROW, "nobody/9", "deleted"),
        (Kind.ALT_TEXT_WITHOUT_ROW, "nobody/9", "deleted"),
        (Kind.LEFT_OF_DELETED, "shop/5", "deleted"),
        (Kind.ORPHANED_OBJECT, "originals/orphan.bin", "deleted"),
        (Kind.LOST_ORIGINAL, "shop/3", "parked"),
        (Kind.LOST_ENHANCED, "shop/2", "sent"),
        (Kind.INCOMPLETE, "shop/1", "sent"),
        (Kind.INCOMPLETE, "shop/4", "sent"),
    }
    sent = {(image.product_id, start) for image, start in outbox.sent}
    assert {(1, Stage.TAG), (2, Stage.ENHANCE), (4, Stage.ALT_TEXT)} <= sent
    lost = stores.documents.image("shop", 3)
    assert lost is not None
    assert lost.state is ImageState.FAILED
    assert {one.kind for one in findings(stores, outbox)} == {Kind.UNFINISHED}
    stores.close()
