"""The check of consistency: each kind of damage made by hand, told, mended, and told no more."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app as command_line
from pipeline.consistency import Consistency, Finding, Kind, differences
from pipeline.dead_letters import Parking
from pipeline.forgetting import Forgetting
from pipeline.ingest import Intake
from pipeline.queues import QUEUES, Stage
from pipeline.records import (
    ANY_CATEGORY,
    AltSource,
    AltTag,
    Card,
    CatalogueImage,
    DeadLetter,
    Enhancement,
    ImageRelevance,
    ImageState,
    StageRecord,
)
from pipeline.settings import Settings, settings
from pipeline.stores import Stores, open_stores
from tests.shops import Outbox

NOTHING_WAITS = dict.fromkeys(QUEUES, 0)
LONG_AGO = 1_000_000_000.0
ORIGINAL, ENHANCED = "originals/{0}.png", "enhanced/{0}.png"


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    """Three images that are done, and a tombstone."""
    opened = open_stores(Settings(data_dir=tmp_path))
    for number in range(1, 5):
        lay(opened, number)
    for key in opened.objects.keys(""):
        made_old(opened, key)
    opened.documents.delete_image("shop", 4)
    Forgetting(opened, Outbox().error_queues.withdraw).image("shop", 4)
    age(opened, 4)
    yield opened
    opened.close()


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def check(stores: Stores, outbox: Outbox, tmp_path: Path) -> Callable[..., list[Finding]]:
    """What is found; what is younger than ten minutes is left alone."""
    queues = outbox.error_queues

    def findings(*, mend: bool = False, depths: dict[str, int] = NOTHING_WAITS) -> list[Finding]:
        return list(
            Consistency(
                stores,
                intake=Intake(stores, Settings(data_dir=tmp_path), outbox),
                parking=Parking(stores.documents, queues.park),
                forgetting=Forgetting(stores, queues.withdraw),
                depths=depths,
                grace=600,
            ).findings(mend=mend)
        )

    return findings


def lay(stores: Stores, number: int, **fields: Any) -> None:
    """All that the stages leave of an image, in every store."""
    documents, key = stores.documents, ("shop", number)
    original, enhanced = ORIGINAL.format(number), ENHANCED.format(number)
    for name in (original, enhanced):
        stores.objects.put(name, b"pixels")
    sha256 = f"{number:064x}"
    documents.accept_image(
        CatalogueImage(
            docid="shop", product_id=number, original_key=original, sha256=sha256, **fields
        )
    )
    enhancement = Enhancement(action="enhanced", key=enhanced).model_dump(mode="json")
    documents.save_pixel_fact(sha256, "enhancement", "m", enhancement)
    ended = {
        f"stages.{stage.value}": StageRecord(key="k", outcome="done", ended_at=1.0).model_dump()
        for stage in Stage
    }
    found = {"enhancement": enhancement, "description": "a cup"}
    documents.patch_metadata(*key, 1, {**ended, **found})
    documents.save_relevance([scored(number)])
    for kind in ("picture", "description"):
        stores.vectors.save_image("m", kind, *key, np.ones(4))
    stores.directory.save_alt_text(alt(number))
    documents.update_image(*key, 1, {"state": ImageState.DONE, "moved_at": LONG_AGO})


def scored(number: int) -> ImageRelevance:
    return ImageRelevance(
        docid="shop", product_id=number, catid=ANY_CATEGORY, generation=1, card=Card(url="/a")
    )


def alt(number: int, docid: str = "shop", source: AltSource = AltSource.GENERATED) -> AltTag:
    return AltTag(docid=docid, product_id=number, alttag="a cup", score=0.5, source=source)


def made_old(stores: Stores, key: str) -> None:
    os.utime(stores.objects._path(key), (LONG_AGO, LONG_AGO))  # type: ignore[attr-defined]


def age(stores: Stores, number: int) -> None:
    """Let a tombstone be old, which no store would do."""
    with stores.documents._database.writing() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql(
            "UPDATE catalogue_details SET body = json_set(body, '$.moved_at', ?)"
            " WHERE product_id = ?",
            (LONG_AGO, number),
        )


def erase(stores: Stores, table: str, number: int) -> None:
    """Take rows out from under the document store."""
    with stores.documents._database.writing() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql(f"DELETE FROM {table} WHERE product_id = ?", (number,))


def orphan(stores: Stores) -> None:
    stores.objects.put("originals/orphan.png", b"pixels")
    made_old(stores, "originals/orphan.png")


def without_row(stores: Stores) -> None:
    erase(stores, "catalogue_details", 1)


def stray_text(stores: Stores) -> None:
    stores.directory.save_alt_text(alt(9, docid="nobody"))


def without_vector(kind: str) -> Callable[[Stores], None]:
    def damage(stores: Stores) -> None:
        other = "description" if kind == "picture" else "picture"
        stores.vectors.delete_image("shop", 1)
        stores.vectors.save_image("m", other, "shop", 1, np.ones(4))

    return damage


def patch(**changes: Any) -> Callable[[Stores], None]:
    return lambda stores: _assert(stores.documents.patch_metadata("shop", 1, 1, changes))


def row(**changes: Any) -> Callable[[Stores], None]:
    return lambda stores: _assert(stores.documents.update_image("shop", 1, 1, changes))


def _assert(done: bool) -> None:
    assert done


def parked_letter(stores: Stores) -> None:
    stores.documents.park(
        DeadLetter(
            key="q/1",
            queue="q",
            task="q",
            task_id="1",
            docid="shop",
            product_id=4,
            exception="ValueError",
            message="m",
        )
    )


def lose(key: str) -> Callable[[Stores], None]:
    return lambda stores: stores.objects.delete(key)


def without_stage(stores: Stores) -> None:
    known = stores.documents.metadata([("shop", 1)])["shop", 1].stages
    kept = {name: one.model_dump() for name, one in known.items() if name != Stage.SCORE.value}
    patch(stages=kept)(stores)


IMAGE = "shop/1"
NO_ENHANCEMENT = Enhancement(action="failed", key=ORIGINAL.format(1)).model_dump(mode="json")

# What is damaged, what is found, what becomes of it, and the stage that an image is sent to.
CASES: dict[str, tuple[Callable[[Stores], None], list[tuple[Kind, str, str]], Stage | None]] = {
    "an object that no row names": (
        orphan,
        [(Kind.ORPHANED_OBJECT, "originals/orphan.png", "deleted")],
        None,
    ),
    "a lost original": (
        lose(ORIGINAL.format(1)),
        [(Kind.LOST_ORIGINAL, IMAGE, "parked")],
        None,
    ),
    "a lost enhanced version": (
        lose(ENHANCED.format(1)),
        [(Kind.LOST_ENHANCED, IMAGE, "sent")],
        Stage.ENHANCE,
    ),
    "facts of no photo": (
        lambda stores: stores.documents.save_pixel_fact("f" * 64, "text", "m", {}),
        [(Kind.FACTS_WITHOUT_ROW, "f" * 64, "deleted")],
        None,
    ),
    "vectors of no image": (
        lambda stores: stores.vectors.save_image("m", "picture", "nobody", 9, np.ones(4)),
        [(Kind.VECTORS_WITHOUT_ROW, "nobody/9", "deleted")],
        None,
    ),
    "an alt text of no image": (
        stray_text,
        [(Kind.ALT_TEXT_WITHOUT_ROW, "nobody/9", "deleted")],
        None,
    ),
    "a row that is gone": (
        without_row,
        [
            (Kind.FACTS_WITHOUT_ROW, f"{1:064x}", "deleted"),
            (Kind.ORPHANED_OBJECT, ORIGINAL.format(1), "deleted"),
            (Kind.VECTORS_WITHOUT_ROW, IMAGE, "deleted"),
            (Kind.SCORES_WITHOUT_ROW, IMAGE, "deleted"),
            (Kind.ALT_TEXT_WITHOUT_ROW, IMAGE, "deleted"),
        ],
        None,
    ),
    "a vector of a deleted image": (
        lambda stores: stores.vectors.save_image("m", "picture", "shop", 4, np.ones(4)),
        [(Kind.LEFT_OF_DELETED, "shop/4", "deleted")],
        None,
    ),
    "an alt text of a deleted image": (
        lambda stores: stores.directory.save_alt_text(alt(4, source=AltSource.MANUAL)),
        [(Kind.LEFT_OF_DELETED, "shop/4", "deleted")],
        None,
    ),
    "no metadata": (
        lambda stores: erase(stores, "metadata", 1),
        [(Kind.INCOMPLETE, IMAGE, "sent")],
        Stage.ENHANCE,
    ),
    "no enhancement": (patch(enhancement=None), [(Kind.INCOMPLETE, IMAGE, "sent")], Stage.UPDATE),
    "an enhancement that nobody found": (
        patch(enhancement=NO_ENHANCEMENT),
        [(Kind.INCOMPLETE, IMAGE, "sent")],
        Stage.ENHANCE,
    ),
    "no vector of the picture": (
        without_vector("picture"),
        [(Kind.INCOMPLETE, IMAGE, "sent")],
        Stage.TAG,
    ),
    "no vector of the description": (
        without_vector("description"),
        [(Kind.INCOMPLETE, IMAGE, "sent")],
        Stage.DESCRIBE,
    ),
    "no scores": (
        lambda stores: erase(stores, "imgrel", 1),
        [(Kind.INCOMPLETE, IMAGE, "sent")],
        Stage.SCORE,
    ),
    "no alt text": (
        lambda stores: _assert(stores.directory.delete_alt_text("shop", 1)),
        [(Kind.INCOMPLETE, IMAGE, "sent")],
        Stage.ALT_TEXT,
    ),
    "a stage that is not recorded": (
        without_stage,
        [(Kind.INCOMPLETE, IMAGE, "sent")],
        Stage.SCORE,
    ),
    "a stage that never ended": (
        lambda stores: (without_stage(stores), row(state="queued")(stores))[0],
        [(Kind.UNFINISHED, IMAGE, "sent")],
        Stage.SCORE,
    ),
    "an image that was never sent": (
        row(state="accepted"),
        [(Kind.UNFINISHED, IMAGE, "sent")],
        Stage.ALT_TEXT,
    ),
}


def told(findings: list[Finding]) -> list[tuple[Kind, str, str]]:
    return [(one.kind, one.what, one.outcome) for one in findings]


def test_queries_kept_for_retraining_are_no_orphans(stores, check):
    key = "online/queries/date=2026-11-26/hour=04.parquet"
    stores.objects.put(key, b"queries")
    made_old(stores, key)
    assert check(mend=True) == []
    assert stores.objects.exists(key)


def test_where_everything_agrees_nothing_is_found(check: Callable[..., list[Finding]]) -> None:
    assert check() == []


@pytest.mark.parametrize("name", CASES)
def test_damage_is_told_then_mended_and_told_no_more(
    check: Callable[..., list[Finding]], stores: Stores, outbox: Outbox, name: str
) -> None:
    damage, expected, start = CASES[name]
    damage(stores)
    # A report leaves everything as it is, so that a second one says the same.
    for _ in range(2):
        found = {(one.kind, one.what) for one in check()}
        assert {(kind, what) for kind, what, _ in expected} <= found
        assert outbox.sent == []
    assert {(kind, what, how) for kind, what, how in expected} <= set(told(check(mend=True)))
    assert [(image.product_id, stage) for image, stage in outbox.sent] == (
        [(1, start)] if start else []
    )
    assert check() == []
    # The others are as they were.
    assert len(stores.documents.scored_images([("shop", 2), ("shop", 3)])) == 2
    assert all(stores.objects.exists(ENHANCED.format(number)) for number in (2, 3))


def test_an_image_runs_again_from_what_is_missing_and_keeps_the_rest(
    check: Callable[..., list[Finding]], stores: Stores
) -> None:
    without_vector("picture")(stores)
    check(mend=True)
    stages = stores.documents.metadata([("shop", 1)])["shop", 1].stages
    assert set(stages) == {stage.value for stage in Stage} - {Stage.TAG.value}


def test_a_lost_original_is_parked_once_with_what_to_do(
    check: Callable[..., list[Finding]], stores: Stores, outbox: Outbox
) -> None:
    stores.objects.delete(ORIGINAL.format(1))
    check(mend=True)
    (letter,) = stores.documents.dead_letters()
    assert (letter.exception, letter.docid, letter.product_id) == ("ObjectMissing", "shop", 1)
    assert "upload the photo again" in letter.message
    image = stores.documents.image("shop", 1)
    assert image is not None
    assert image.state is ImageState.FAILED
    assert ORIGINAL.format(1) in image.failure
    assert outbox.error_queues.left() == [letter.key]


def test_a_lost_original_is_fetched_again_from_its_address(
    check: Callable[..., list[Finding]], stores: Stores, outbox: Outbox
) -> None:
    lay(stores, 5, url="https://a.example/5.png")
    stores.objects.delete(ORIGINAL.format(5))
    assert (Kind.LOST_ORIGINAL, "shop/5", "sent") in told(check(mend=True))
    (image, start), *_ = outbox.sent
    assert (image.product_id, image.original_key, image.sha256, start) == (5, "", "", Stage.ENHANCE)


def test_dead_letters_of_a_deleted_image_go(
    check: Callable[..., list[Finding]], stores: Stores, outbox: Outbox
) -> None:
    parked_letter(stores)
    outbox.error_queues.park("error.q", {"key": "q/1"})
    assert told(check(mend=True)) == [(Kind.LEFT_OF_DELETED, "shop/4", "deleted")]
    assert outbox.error_queues.left() == stores.documents.dead_letters() == []


def test_what_is_young_or_waits_in_a_queue_is_left_alone(
    check: Callable[..., list[Finding]], stores: Stores
) -> None:
    stores.objects.put("originals/new.png", b"pixels")
    stores.documents.delete_image("shop", 2)
    row(state="queued")(stores)
    waiting = {**NOTHING_WAITS, Stage.ALT_TEXT.value: 5}
    young = {Kind.LEFT_OF_DELETED, Kind.ORPHANED_OBJECT, Kind.UNFINISHED}
    assert "originals/new.png" not in [one.what for one in check(depths=waiting)]
    assert not young & {one.kind for one in check(depths=waiting) if "2" not in one.what}
    assert [one.kind for one in check() if one.what == IMAGE] == [Kind.UNFINISHED]


def test_an_enhanced_version_that_waits_for_its_write_back_is_left_alone(
    check: Callable[..., list[Finding]], stores: Stores
) -> None:
    patch(enhancement=None)(stores)
    assert [one.kind for one in check()] == [Kind.INCOMPLETE]


def test_an_alt_text_that_a_person_wrote_is_kept_and_told_again(
    check: Callable[..., list[Finding]], stores: Stores
) -> None:
    stores.directory.save_alt_text(alt(9, docid="nobody", source=AltSource.MANUAL))
    kept = [(Kind.ALT_TEXT_WITHOUT_ROW, "nobody/9", "kept")]
    assert told(check(mend=True)) == told(check(mend=True)) == kept


def test_pages_meet_at_their_edges(
    check: Callable[..., list[Finding]], stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.consistency.AT_ONCE", 1)
    monkeypatch.setattr("pipeline.stores.database.PAGE", 1)
    assert check() == []
    orphan(stores)
    without_vector("picture")(stores)
    assert [one.kind for one in check()] == [Kind.ORPHANED_OBJECT, Kind.INCOMPLETE]


def test_two_lists_are_compared_in_step_and_never_held() -> None:
    def numbers(but: int) -> Iterator[str]:
        for number in range(10**9):
            if number != but:
                yield f"{number:012}"

    found = differences(numbers(3), numbers(5))
    assert [next(found), next(found)] == [("000000000003", False), ("000000000005", True)]
    assert list(differences([], ["a"])) == [("a", False)]
    assert list(differences(["a", "b"], ["b"])) == [("a", True)]


class TestCommand:
    @pytest.fixture
    def doctor(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
        monkeypatch.setenv("JUSTLENS_DATA_DIR", str(tmp_path))
        # Nobody is asked: what is mended here needs no broker.
        monkeypatch.setattr("cli.consistency._depths", lambda sender, mend: NOTHING_WAITS)
        monkeypatch.setattr("pipeline.broker.EmbeddedBroker.ensure", lambda self: None)
        settings.cache_clear()
        yield lambda *words: CliRunner().invoke(command_line, ["doctor", *words])
        settings.cache_clear()

    def test_says_by_its_status_whether_something_is_left(
        self, doctor: Any, stores: Stores
    ) -> None:
        assert doctor("--consistency").exit_code == 0
        orphan(stores)
        stray_text(stores)
        report = doctor("--consistency")
        assert report.exit_code == 1
        assert "1 orphaned_object" in report.output
        assert "--mend" in report.output
        young = doctor("--consistency", "--grace", "36500d")
        assert "orphaned_object" not in young.output
        mended = doctor("--consistency", "--mend", "--json")
        assert mended.exit_code == 0
        answer = json.loads(mended.stdout)
        assert (answer["consistent"], answer["mended"]) == (False, True)
        assert answer["findings"]["orphaned_object"]["first"][0]["outcome"] == "deleted"
        again = json.loads(doctor("--consistency", "--json").stdout)
        assert again["consistent"]
        assert set(again["findings"]) == {kind.value for kind in Kind}

    def test_mends_nothing_unless_it_checks(self, doctor: Any) -> None:
        refused = doctor("--mend")
        assert refused.exit_code == 2
        assert "--consistency" in refused.output
