"""What every document store does."""

import threading

import pytest

from pipeline.errors import StoreUnavailable
from pipeline.queues import Lane, Stage
from pipeline.records import (
    ANY_CATEGORY,
    Business,
    Card,
    CatalogueImage,
    Contract,
    DeadLetter,
    Enhancement,
    ImageRelevance,
    ImageState,
    StageRecord,
)
from pipeline.stores.documents import DocumentStore, PixelFact
from pipeline.stores.page_images import PageImages
from tests.unit.stores.conftest import Opener
from tests.unit.stores.processes import run_and_kill, run_side_by_side

KEY = ("B1", 7)


def photo(sha256: str = "a", docid: str = "B1", product_id: int = 7, **fields) -> CatalogueImage:
    return CatalogueImage(docid=docid, product_id=product_id, sha256=sha256, **fields)


def scored(
    catid: int = 3, docid: str = "B1", product_id: int = 7, generation: int = 1, **fields
) -> ImageRelevance:
    return ImageRelevance(
        docid=docid,
        catid=catid,
        product_id=product_id,
        generation=generation,
        **{"score": 0.5, "parts": {"image": 0.4}, "card": Card(url="/a.jpg"), **fields},
    )


def rows_of(*scores: ImageRelevance) -> list[ImageRelevance]:
    """All rows of the image that has these scores."""
    own = scores[0].model_copy(update={"catid": ANY_CATEGORY, "score": None, "parts": {}})
    return [own, *scores]


def letter(key: str = "k", **fields) -> DeadLetter:
    known = {"queue": "q", "task": "t", "task_id": "1", "exception": "ValueError", "message": "m"}
    return DeadLetter(key=key, **{**known, **fields})


@pytest.fixture
def row(documents: DocumentStore) -> CatalogueImage:
    """The first generation of an image, with metadata and scores."""
    stored, _ = documents.accept_image(photo())
    documents.patch_metadata(*KEY, 1, {"tags": ["old"]})
    documents.save_relevance(rows_of(scored()))
    return stored


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is read from end to end takes several reads."""
    monkeypatch.setattr("pipeline.stores.database.PAGE", 2)
    monkeypatch.setattr("pipeline.stores.documents_mongo.WALKED_AT_ONCE", 2)


def settle(documents: DocumentStore, state: ImageState, **changes) -> None:
    assert documents.update_image(*KEY, 1, {"state": state, **changes})


class TestBusinesses:
    def test_are_found_by_their_docids_and_unknown_ones_left_out(self, documents):
        business = Business(docid="B1", name="Café Anna", contract=Contract(contract_id="c"))
        documents.save_businesses([business, Business(docid="B2", name="Bistro")])
        assert documents.businesses(["B1", "none"]) == {"B1": business}
        assert documents.businesses([]) == {}

    def test_are_replaced_when_saved_again(self, documents):
        documents.save_businesses([Business(docid="B1", name="old")])
        documents.save_businesses([Business(docid="B1", name="new")])
        assert documents.businesses(["B1"])["B1"].name == "new"
        assert documents.search_businesses("old") == []

    def test_are_searched_by_a_part_of_the_name_in_any_case_and_script(self, documents):
        names = {"B3": "ÉCOLE du Sushi", "B1": "Sushi 100%", "B2": "Пекарня"}
        documents.save_businesses(Business(docid=key, name=name) for key, name in names.items())
        found = lambda text: [one.docid for one in documents.search_businesses(text)]  # noqa: E731
        assert found("sUSHI") == ["B1", "B3"]
        assert found("école") == ["B3"]
        assert found("ПЕКАРНЯ") == ["B2"]
        assert found("100%") == ["B1"]
        assert found("_") == []
        assert found("") == ["B1", "B2", "B3"]
        assert [one.docid for one in documents.search_businesses(limit=2)] == ["B1", "B2"]

    def test_are_removed_once(self, documents):
        documents.save_businesses([Business(docid="B1", name="a"), Business(docid="B2", name="a")])
        assert documents.delete_business("B1")
        assert not documents.delete_business("B1")
        assert [one.docid for one in documents.search_businesses("a")] == ["B2"]


class TestAcceptingAnImage:
    def test_a_first_photo_is_stored_as_generation_one_with_work_to_do(self, documents):
        image = photo(name="x.jpg", lane=Lane.BULK, image_type="text")
        stored, is_work = documents.accept_image(image)
        assert is_work
        assert stored == image
        assert documents.image(*KEY) == image

    def test_the_same_photo_again_changes_nothing_and_is_work_until_it_is_queued(
        self, documents, row
    ):
        stored, is_work = documents.accept_image(photo(name="other name"))
        assert (stored, is_work) == (row, True)
        for state in (ImageState.QUEUED, ImageState.DONE):
            settle(documents, state)
            stored, is_work = documents.accept_image(photo())
            assert not is_work
            assert stored.state is state
            assert stored.generation == 1
        assert documents.metadata([KEY])[KEY].tags == ["old"]
        assert documents.relevance(["B1"], [3])

    def test_a_failed_photo_is_accepted_again_and_keeps_what_is_known_of_it(self, documents, row):
        settle(documents, ImageState.FAILED, failure="too dark", moved_at=1.0)
        stored, is_work = documents.accept_image(photo(moved_at=2.0))
        assert is_work
        assert (stored.state, stored.generation, stored.failure) == (ImageState.ACCEPTED, 1, "")
        assert stored.moved_at == 2.0
        assert documents.image(*KEY) == stored
        assert documents.metadata([KEY])

    def test_another_prompt_makes_work_of_a_photo_that_is_known_and_none_does_not(
        self, documents, row
    ):
        settle(documents, ImageState.DONE)
        stored, is_work = documents.accept_image(photo(prompt_name="full_details"))
        assert is_work
        assert (stored.prompt_name, stored.state) == ("full_details", ImageState.ACCEPTED)
        assert documents.image(*KEY) == stored
        settle(documents, ImageState.DONE)
        for again in (photo(), photo(prompt_name="full_details")):
            stored, is_work = documents.accept_image(again)
            assert not is_work
            assert stored.prompt_name == "full_details"

    @pytest.mark.parametrize("state", [ImageState.QUEUED, ImageState.DONE])
    def test_force_makes_work_of_a_photo_that_is_known(self, documents, row, state):
        settle(documents, state)
        stored, is_work = documents.accept_image(photo(force=True))
        assert is_work
        assert stored.force
        assert (stored.state, stored.generation) == (ImageState.ACCEPTED, 1)
        assert documents.image(*KEY) == stored
        assert documents.metadata([KEY])

    @pytest.mark.parametrize(
        "changed", [photo(sha256="b"), photo(image_type="face"), photo(sha256="", url="http://x")]
    )
    def test_another_photo_replaces_the_row_and_drops_what_was_known_of_the_old_one(
        self, documents, row, changed
    ):
        documents.accept_image(photo(docid="B2"))
        documents.save_relevance(rows_of(scored(docid="B2")))
        settle(documents, ImageState.DONE)
        stored, is_work = documents.accept_image(changed)
        assert is_work
        assert (stored.generation, stored.state) == (2, ImageState.ACCEPTED)
        assert documents.image(*KEY) == stored
        assert documents.metadata([KEY]) == {}
        assert [one.docid for one in documents.relevance(["B1", "B2"], [3])] == ["B2"]

    def test_photos_named_by_address_are_the_same_when_their_addresses_are(self, documents):
        first = photo(sha256="", url="http://x/1")
        documents.accept_image(first)
        assert documents.accept_image(photo(sha256="", url="http://x/1"))[0] == first
        documents.update_image(*KEY, 1, {"sha256": "a", "state": ImageState.DONE})
        stored, is_work = documents.accept_image(photo(sha256="", url="http://x/1"))
        assert (stored.generation, stored.sha256, is_work) == (1, "a", False)
        assert documents.accept_image(photo(sha256="a"))[0].generation == 1
        assert documents.accept_image(photo(sha256="", url="http://x/2"))[0].generation == 2

    def test_any_photo_over_a_tombstone_is_a_new_generation(self, documents, row):
        documents.delete_image(*KEY)
        stored, is_work = documents.accept_image(photo())
        assert is_work
        assert (stored.generation, stored.state) == (3, ImageState.ACCEPTED)

    def test_ids_as_large_as_the_contract_allows_are_kept(self, documents):
        image = photo(product_id=2**63 - 1)
        documents.accept_image(image)
        assert documents.image("B1", 2**63 - 1) == image


class TestImages:
    def test_of_businesses_come_in_order_and_without_tombstones(self, documents):
        for docid, product_id in [("B2", 1), ("B1", 10), ("B1", 9), ("B1", 8), ("B3", 1)]:
            documents.accept_image(photo(docid=docid, product_id=product_id))
        documents.delete_image("B1", 9)
        found = [(one.docid, one.product_id) for one in documents.images(["B2", "B1", "none"])]
        assert found == [("B1", 8), ("B1", 10), ("B2", 1)]

    def test_are_read_page_by_page_in_that_order(self, documents):
        keys = [(docid, number) for docid in ("B1", "B2", "B3") for number in (1, 2, 10)]
        for docid, product_id in reversed(keys):
            documents.accept_image(photo(docid=docid, product_id=product_id))
        documents.accept_image(photo(docid="B0", product_id=5))
        documents.delete_image("B2", 2)
        read: list[tuple[str, int]] = []
        while page := documents.images(
            ["B3", "B1", "B2"], after=read[-1] if read else None, limit=2, deleted=True
        ):
            assert len(page) <= 2
            read += [(one.docid, one.product_id) for one in page]
        assert read == keys
        behind = documents.images(["B1", "B2"], after=("B1", 10))
        assert [(one.docid, one.product_id) for one in behind] == [("B2", 1), ("B2", 10)]
        among_others = documents.images(["B1", "B3"], after=("B2", 1), limit=1)
        assert [(one.docid, one.product_id) for one in among_others] == [("B3", 1)]

    def test_tombstones_are_read_where_they_are_asked_for(self, documents, row):
        documents.delete_image(*KEY)
        assert documents.images(["B1"]) == []
        assert [one.state for one in documents.images(["B1"], deleted=True)] == ["deleted"]

    def test_are_read_by_their_keys_without_tombstones_and_unknown_ones(self, documents, row):
        documents.accept_image(photo(docid="B2"))
        documents.accept_image(photo(product_id=8))
        documents.delete_image("B1", 8)
        asked = [KEY, ("B1", 8), ("B1", 9), ("none", 7)]
        assert documents.images_of(asked) == {KEY: row}
        assert documents.images_of([]) == {}

    def test_a_fenced_change_sets_fields_and_leaves_the_others(self, documents, row):
        changes = {"stage": Stage.TAG, "state": ImageState.QUEUED, "moved_at": 5.0, "width": 9}
        assert documents.update_image(*KEY, 1, changes)
        assert documents.image(*KEY) == row.model_copy(update=changes)

    def test_a_change_that_asks_for_a_state_needs_the_row_in_it(self, documents, row):
        queued = {"state": ImageState.QUEUED}
        assert documents.update_image(*KEY, 1, queued, only_in=ImageState.ACCEPTED)
        assert not documents.update_image(*KEY, 1, queued, only_in=ImageState.ACCEPTED)

    @pytest.mark.parametrize(
        "changes", [{"generation": 5}, {"docid": "B2"}, {"colour": "red"}, {"width": "wide"}]
    )
    def test_a_change_that_no_row_can_have_is_refused(self, documents, row, changes):
        with pytest.raises(ValueError):
            documents.update_image(*KEY, 1, {"name": "half", **changes})
        assert documents.image(*KEY) == row

    def test_a_deletion_leaves_a_tombstone_of_the_next_generation_and_nothing_known(
        self, documents, row
    ):
        assert documents.delete_image(*KEY)
        tombstone = documents.image(*KEY)
        assert (tombstone.state, tombstone.generation) == (ImageState.DELETED, 2)
        assert documents.metadata([KEY]) == {}
        assert documents.relevance(["B1"], [3]) == []
        assert not documents.delete_image(*KEY)
        assert not documents.delete_image("B1", 404)

    def test_waiting_ones_are_those_accepted_or_queued_that_did_not_move(self, documents):
        for number, state in enumerate(ImageState):
            documents.accept_image(photo(docid="B1", product_id=number + 1))
            changes = {"state": state, "moved_at": 100.0 - number}
            assert documents.update_image("B1", number + 1, 1, changes)
        documents.accept_image(photo(docid="B1", product_id=99))
        assert documents.update_image("B1", 99, 1, {"moved_at": 50.0})

        def waiting(state, before, **limit):
            return [one.product_id for one in documents.waiting_images(state, before, **limit)]

        assert waiting(ImageState.ACCEPTED, 100.5) == [99, 1]
        assert waiting(ImageState.ACCEPTED, 100.5, limit=1) == [99]
        assert waiting(ImageState.QUEUED, 100.5) == [2]
        assert waiting(ImageState.QUEUED, 99.0) == []

    def test_that_have_waited_longest_are_told_by_stage_and_lane(self, documents):
        def lay(product_id, stage, lane, moved_at, state=ImageState.QUEUED):
            documents.accept_image(photo(product_id=product_id, lane=lane))
            changes = {"state": state, "stage": stage, "moved_at": moved_at}
            assert documents.update_image("B1", product_id, 1, changes)

        assert documents.longest_waiting() == {}
        lay(1, Stage.TAG, Lane.INTERACTIVE, 30.0)
        lay(2, Stage.TAG, Lane.INTERACTIVE, 20.0)
        lay(3, Stage.TAG, Lane.BULK, 10.0)
        lay(4, Stage.SCORE, Lane.INTERACTIVE, 40.0)
        for number, state in enumerate(ImageState):
            if state is not ImageState.QUEUED:
                lay(5 + number, Stage.TAG, Lane.INTERACTIVE, 1.0, state)
        assert documents.longest_waiting() == {
            (Stage.TAG, Lane.INTERACTIVE): 20.0,
            (Stage.TAG, Lane.BULK): 10.0,
            (Stage.SCORE, Lane.INTERACTIVE): 40.0,
        }

    def test_are_counted_by_state_of_some_businesses_or_of_all(self, documents):
        for docid in ("B1", "B2"):
            documents.accept_image(photo(docid=docid))
        documents.delete_image("B2", 7)
        nothing = dict.fromkeys(ImageState, 0)
        assert documents.count_states() == nothing | {
            ImageState.ACCEPTED: 1,
            ImageState.DELETED: 1,
        }
        assert documents.count_states(["B1"]) == nothing | {ImageState.ACCEPTED: 1}
        assert documents.count_states([]) == nothing


class TestFence:
    """Writes of a generation that is not the row's change nothing."""

    def writes(self, documents: DocumentStore, generation: int) -> list[bool]:
        return [
            documents.update_image(*KEY, generation, {"name": "slow"}),
            documents.patch_metadata(*KEY, generation, {"tags": ["slow"]}),
            documents.save_relevance(rows_of(scored(generation=generation, score=0.99))),
            documents.patch_relevance(*KEY, generation, {"quality": 99.0}),
            documents.write_findings(*KEY, generation, {"tags": ["slow"]}, {"name": "slow"}),
        ]

    def test_a_slow_run_of_an_old_generation_cannot_overwrite_a_newer_photo(self, documents, row):
        new, _ = documents.accept_image(photo(sha256="new"))
        documents.patch_metadata(*KEY, 2, {"tags": ["new"]})
        documents.save_relevance(rows_of(scored(generation=2)))
        assert self.writes(documents, generation=1) == [False] * 5
        assert documents.image(*KEY) == new
        assert documents.metadata([KEY])[KEY].tags == ["new"]
        assert documents.relevance(["B1"], [3]) == [scored(generation=2)]

    @pytest.mark.parametrize("generation", [1, 2])
    def test_nothing_is_written_over_a_tombstone(self, documents, row, generation):
        documents.delete_image(*KEY)
        assert self.writes(documents, generation) == [False] * 5
        assert documents.metadata([KEY]) == {}
        assert documents.relevance(["B1"], [3]) == []

    def test_nothing_is_written_for_an_image_that_never_was(self, documents):
        assert self.writes(documents, generation=1) == [False] * 5
        assert documents.image(*KEY) is None


class TestWhatWasFinished:
    def finish(self, documents, product_id: int, at: float, **stages: StageRecord) -> None:
        documents.accept_image(photo(product_id=product_id))
        patch = {f"stages.{name}": one.model_dump(mode="json") for name, one in stages.items()}
        documents.patch_metadata("B1", product_id, 1, patch)
        done = {"state": ImageState.DONE, "moved_at": at}
        documents.update_image("B1", product_id, 1, done)

    def test_is_counted_by_spans_that_hold_their_start_and_not_their_end(self, documents):
        for number, at in enumerate([39.9, 40.0, 69.9, 70.0, 99.9, 100.0]):
            self.finish(documents, number + 1, at)
        assert documents.finished_images(100.0, 10.0, 6) == [1, 0, 1, 1, 0, 1]
        assert documents.finished_images(100.5, 60.5, 1) == [5]
        assert documents.finished_images(20.0, 10.0, 2) == [0, 0]

    def test_is_not_what_waits_or_failed_or_was_deleted(self, documents):
        for number, state in enumerate(ImageState):
            documents.accept_image(photo(product_id=number + 1))
            documents.update_image("B1", number + 1, 1, {"state": state, "moved_at": 5.0})
        assert documents.finished_images(10.0, 10.0, 1) == [1]
        assert documents.last_stages() == []

    def test_says_how_its_stages_ended_newest_image_first(self, documents):
        for number in range(1, 5):
            ended = StageRecord(key="k", outcome="done", ended_at=1.0, seconds=number / 2)
            self.finish(documents, number, at=10.0 - number, **{Stage.TAG.value: ended})
        documents.accept_image(photo(sha256="replaced", product_id=3))
        found = documents.last_stages(2)
        assert [one[Stage.TAG.value].seconds for one in found] == [0.5, 1.0]
        assert [one[Stage.TAG.value].seconds for one in documents.last_stages()] == [0.5, 1.0, 2.0]


class TestFindings:
    def test_metadata_and_row_are_written_and_read_together(self, documents, row):
        patch, changes = {"quality": 80.5}, {"state": ImageState.DONE, "width": 640}
        assert documents.write_findings(*KEY, 1, patch, changes)
        image, found = documents.image_and_metadata(*KEY)
        assert (image, found) == (documents.image(*KEY), documents.metadata([KEY])[KEY])
        assert (image.state, image.width, found.quality) == (ImageState.DONE, 640, 80.5)
        assert found.tags == ["old"]

    def test_either_of_them_may_be_left_as_it_is(self, documents, row):
        assert documents.write_findings(*KEY, 1, {}, {"width": 640})
        assert documents.write_findings(*KEY, 1, {"quality": 80.5}, {})
        image, found = documents.image_and_metadata(*KEY)
        assert (image.width, found.tags, found.quality) == (640, ["old"], 80.5)

    @pytest.mark.parametrize("generation, stands", [(1, True), (2, False)])
    def test_facts_of_the_bytes_are_saved_whether_the_image_stands_or_not(
        self, documents, row, generation, stands
    ):
        facts = [("s", PixelFact("text", "m", {"text": "MENU"}))]
        assert documents.write_findings(*KEY, generation, {"tags": ["new"]}, {}, facts) is stands
        assert documents.pixel_fact("s", "text", "m") == {"text": "MENU"}

    @pytest.mark.parametrize("generation, stands", [(1, True), (2, False)])
    def test_rows_of_the_image_take_the_place_of_those_before(
        self, documents, row, generation, stands
    ):
        documents.save_relevance(rows_of(scored(3), scored(4)))
        own = {"generation": generation}
        new = rows_of(scored(4, score=0.1, **own), scored(5, score=0.2, **own))
        assert documents.write_findings(*KEY, generation, {}, {}, (), new) is stands
        found = {one.catid: one.score for one in documents.relevance([KEY[0]], [3, 4, 5])}
        assert found == ({4: 0.1, 5: 0.2} if stands else {3: 0.5, 4: 0.5})

    @pytest.mark.parametrize("generation, stands", [(1, True), (2, False)])
    def test_an_alt_text_goes_to_the_cards_as_well(self, documents, row, generation, stands):
        documents.save_relevance(rows_of(scored(3), scored(4)))
        patch, changes = {"alt_text": "A red cup", "quality": 80.5}, {"width": 640}
        assert documents.write_findings(*KEY, generation, patch, changes) is stands
        found = documents.metadata([KEY])[KEY]
        assert (found.alt_text, found.quality) == (("A red cup", 80.5) if stands else ("", None))
        (shown,) = documents.own_rows([KEY])
        assert shown.card.alt == ("A red cup" if stands else "")

    def test_what_does_not_fit_is_refused(self, documents, row):
        with pytest.raises(ValueError):
            documents.write_findings(*KEY, 1, {"colour": "red"}, {"width": 640})
        assert documents.metadata([KEY])[KEY].tags == ["old"]

    def test_where_they_are_two_writes_the_metadata_comes_last(self, documents, row, monkeypatch):
        def away(*_: object) -> bool:
            raise StoreUnavailable("away")

        monkeypatch.setattr(documents, "update_image", away)
        with pytest.raises(StoreUnavailable):
            DocumentStore.write_findings(documents, *KEY, 1, {"tags": ["new"]}, {"width": 640})
        assert documents.metadata([KEY])[KEY].tags == ["old"]

    def test_of_an_image_that_never_was_are_none(self, documents):
        assert documents.image_and_metadata(*KEY) == (None, None)


class TestMetadata:
    def test_a_patch_sets_its_paths_and_leaves_everything_else(self, documents, row):
        ended = StageRecord(key="k", outcome="done", ended_at=1.0)
        patch = {
            f"stages.{Stage.TAG.value}": ended.model_dump(mode="json"),
            "flags.blurred": True,
            "quality": 80.5,
        }
        assert documents.patch_metadata(*KEY, 1, patch)
        assert documents.patch_metadata(*KEY, 1, {"flags.nsfw": False, "quality_parts.noise": 0.1})
        found = documents.metadata([KEY])[KEY]
        assert found.tags == ["old"]
        assert found.stages == {Stage.TAG.value: ended}
        assert (found.flags.blurred, found.flags.nsfw, found.flags.valid) == (True, False, None)
        assert found.quality_parts == {"noise": 0.1}
        assert documents.stage_ended(found, Stage.TAG, "k")
        assert not documents.stage_ended(found, Stage.TAG, "other")
        assert not documents.stage_ended(None, Stage.TAG, "k")

    @pytest.mark.parametrize(
        "patch",
        [
            {"colour": "red"},
            {"quality": "high"},
            {"quality": float("nan")},
            {"generation": 9},
            {"quality.x": 1},
            {"enhancement.key": "x"},
            {"flags": {}, "flags.nsfw": True},
            {"flags..nsfw": True},
            {"": 1},
        ],
    )
    def test_a_patch_that_does_not_fit_is_refused_as_a_whole(self, documents, row, patch):
        before = documents.metadata([KEY])
        with pytest.raises(ValueError):
            documents.patch_metadata(*KEY, 1, {"description": "half", "quality": 1.0, **patch})
        assert documents.metadata([KEY]) == before

    def test_is_read_for_exactly_the_pairs_asked_for(self, documents):
        for docid, product_id in [("B1", 1), ("B1", 2), ("B2", 1), ("B2", 2)]:
            documents.accept_image(photo(docid=docid, product_id=product_id))
            documents.patch_metadata(docid, product_id, 1, {"alt_text": f"{docid}/{product_id}"})
        found = documents.metadata([("B1", 2), ("B2", 1), ("B1", 2), ("B9", 9)])
        assert {key: one.alt_text for key, one in found.items()} == {
            ("B1", 2): "B1/2",
            ("B2", 1): "B2/1",
        }
        assert documents.metadata([]) == {}


class TestPixelFacts:
    def test_are_kept_by_bytes_kind_and_model(self, documents):
        documents.save_pixel_fact("s", "labels", "m1", {"labels": [["café", 0.5]]})
        documents.save_pixel_fact("s", "text", "m1", {"text": ""})
        documents.save_pixel_fact("s", "text", "m1", {"text": "MENU"})
        assert documents.pixel_fact("s", "labels", "m1") == {"labels": [["café", 0.5]]}
        assert documents.pixel_fact("s", "text", "m1") == {"text": "MENU"}
        assert documents.pixel_fact("s", "text", "m2") is None

    def test_are_read_and_dropped_by_the_bytes(self, documents, small_pages):
        for sha256, kind in (("a", "labels"), ("a", "text"), ("a0", "text"), ("b", "text")):
            documents.save_pixel_fact(sha256, kind, "model/1@2", {"text": sha256})
        assert list(documents.every_pixel_hash()) == ["a", "a0", "b"]
        assert sorted(documents.pixel_facts("a")) == [
            ("labels", "model/1@2", {"text": "a"}),
            ("text", "model/1@2", {"text": "a"}),
        ]
        assert documents.drop_pixel_facts("a") == 2
        assert documents.drop_pixel_facts("a") == 0
        assert documents.pixel_facts("a") == []
        assert list(documents.every_pixel_hash()) == ["a0", "b"]


class TestRelevance:
    def test_rows_are_found_by_businesses_and_categories(self, documents):
        rows = []
        for docid in ("B1", "B2", "B3"):
            documents.accept_image(photo(docid=docid))
            rows.append(rows_of(scored(3, docid), scored(4, docid)))
            assert documents.save_relevance(rows[-1])
        found = documents.relevance(["B1", "B3", "none"], [ANY_CATEGORY, 4])
        by_key = sorted(found, key=lambda one: (one.docid, one.catid))
        assert by_key == [rows[0][0], rows[0][2], rows[2][0], rows[2][2]]
        assert documents.relevance([], [3]) == documents.relevance(["B1"], []) == []

    def test_new_rows_of_an_image_replace_all_its_old_ones(self, documents, row):
        documents.accept_image(photo(product_id=8))
        documents.save_relevance(rows_of(scored(product_id=8)))
        documents.save_relevance(rows_of(scored(4), scored(5, score=None)))
        found = documents.relevance(["B1"], [3, 4, 5])
        assert sorted((one.product_id, one.catid) for one in found) == [(7, 4), (7, 5), (8, 3)]

    def test_rows_of_several_images_or_of_none_are_refused(self, documents, row):
        other, newer = scored(4, product_id=8), scored(4, generation=2)
        for rows in ([], rows_of(scored(), other), rows_of(scored(), newer)):
            with pytest.raises(ValueError, match="exactly one image"):
                documents.save_relevance(rows)
        assert documents.relevance(["B1"], [3]) == [scored()]

    def test_rows_without_the_image_before_any_category_are_refused(self, documents, row):
        for rows in ([scored(score=0.9)], [*rows_of(scored(score=0.9)), *rows_of(scored(4))]):
            with pytest.raises(ValueError, match="one row under 0"):
                documents.save_relevance(rows)
        assert documents.relevance(["B1"], [3]) == [scored()]

    @pytest.mark.parametrize(
        "own", [{"quality": 9.0}, {"one_class": True}, {"card": Card(url="/b.jpg")}]
    )
    def test_rows_that_do_not_agree_on_the_image_are_refused(self, documents, row, own):
        with pytest.raises(ValueError, match="differ"):
            documents.save_relevance(rows_of(scored(), scored(4, **own)))
        assert documents.relevance(["B1"], [3]) == [scored()]

    def test_a_patch_reaches_every_category_of_the_image_and_no_other_image(self, documents, row):
        documents.save_relevance(rows_of(scored(3), scored(4)))
        documents.accept_image(photo(product_id=8))
        documents.save_relevance(rows_of(scored(3, product_id=8)))
        assert documents.patch_relevance(*KEY, 1, {"card.alt": "a plate", "parts.match": 1.0})
        found = documents.relevance(["B1"], [3, 4])
        alts = sorted((one.product_id, one.catid, one.card.alt) for one in found)
        assert alts == [(7, 3, "a plate"), (7, 4, "a plate"), (8, 3, "")]
        assert all(one.parts["image"] == 0.4 for one in found)

    def test_a_patch_cannot_move_a_row_to_another_category(self, documents, row):
        with pytest.raises(ValueError):
            documents.patch_relevance(*KEY, 1, {"catid": 4})

    def test_a_page_of_thousands_of_keys_is_read_at_once(self, documents, row):
        docids = [f"X{number}" for number in range(40_000)] + ["B1"]
        assert documents.relevance(docids, [3]) == [scored()]
        assert len(documents.relevance(["B1"], range(40_000))) == 2
        assert list(documents.metadata([(docid, 7) for docid in docids])) == [KEY]
        assert [one.docid for one in documents.images(docids)] == ["B1"]


class TestSpaces:
    """Scores of one image by several text models."""

    @pytest.fixture
    def spaces(self, documents, row) -> DocumentStore:
        documents.save_relevance(
            rows_of(*(scored(catid, space="new@2", score=0.9) for catid in (3, 4)))
        )
        return documents

    def test_are_read_one_by_one(self, spaces):
        assert spaces.relevance(["B1"], [3, 4]) == [scored()]
        assert [one.catid for one in spaces.relevance(["B1"], [3, 4], "new@2")] == [3, 4]
        assert spaces.page({"B1": [3]})["B1"].scores[3].values == {7: 0.5}
        assert spaces.page({"B1": [3]}, "new@2")["B1"].scores[3].values == {7: 0.9}
        assert not spaces.page({"B1": [3]}, "newer@3")["B1"].product_ids
        assert spaces.scored_images([KEY], "new@2") == {KEY: 1}
        assert spaces.scored_images([KEY], "newer@3") == {}
        (own,) = spaces.own_rows([KEY, ("B1", 8)], "new@2")
        assert (own.catid, own.space, own.card.url) == (ANY_CATEGORY, "new@2", "/a.jpg")
        assert spaces.own_rows([], "new@2") == []

    def test_are_replaced_one_by_one(self, spaces):
        spaces.save_relevance(rows_of(scored(5, space="new@2")))
        assert spaces.relevance(["B1"], [3, 4]) == [scored()]
        assert [one.catid for one in spaces.relevance(["B1"], [3, 4, 5], "new@2")] == [5]

    def test_share_what_is_the_image_s_own(self, spaces):
        assert spaces.patch_relevance(*KEY, 1, {"card.alt": "A cup"})
        for space in ("", "new@2"):
            (found,) = spaces.relevance(["B1"], [3], space)
            assert (found.card.alt, found.space) == ("A cup", space)

    def test_go_together_when_the_image_goes(self, spaces):
        spaces.delete_image(*KEY)
        assert spaces.relevance(["B1"], [0, 3, 4]) == []
        assert spaces.relevance(["B1"], [0, 3, 4], "new@2") == []

    def test_are_dropped_without_the_others(self, spaces, small_pages):
        for number in range(60):
            spaces.accept_image(photo(docid=f"C{number}"))
            spaces.save_relevance(rows_of(scored(docid=f"C{number}", space="new@2")))
        for _ in range(2):
            spaces.drop_space("new@2")
        docids = ["B1", *(f"C{number}" for number in range(60))]
        assert spaces.relevance(docids, [0, 3, 4], "new@2") == []
        assert spaces.relevance(docids, [3]) == [scored()]

    def test_cannot_be_mixed_in_one_write(self, documents, row):
        with pytest.raises(ValueError, match="one space"):
            documents.save_relevance(rows_of(scored(), scored(4, space="new@2")))


class TestPage:
    """What a page reads."""

    def test_holds_every_image_of_a_business_with_its_scores_for_what_is_wanted_of_it(
        self, documents
    ):
        for docid in ("B1", "B2", "B3"):
            for product_id in (7, 8):
                documents.accept_image(photo(docid=docid, product_id=product_id))
        documents.save_relevance(rows_of(scored(3), scored(4, score=0.6)))
        documents.save_relevance(rows_of(scored(3, product_id=8)))
        documents.save_relevance(rows_of(scored(3, "B2"), scored(4, "B2")))
        documents.save_relevance(rows_of(scored(3, "B3")))
        page = documents.page({"B2": [4], "B1": [4, 3], "none": [3]})
        assert found(page) == {
            "B1": {7: {3: 0.5, 4: 0.6}, 8: {3: 0.5}},
            "B2": {7: {4: 0.5}},
            "none": {},
        }
        assert documents.page({}) == {}

    def test_without_a_category_holds_the_images_alone(self, documents, row):
        assert found(documents.page({"B1": []})) == {"B1": {7: {}}}

    def test_says_what_an_order_is_made_from_and_what_is_shown(self, documents):
        card = Card(
            url="/a.jpg", perceptual_hash="0f" * 8, signature="1e" * 32, invalid=["blurred", "nsfw"]
        )
        documents.accept_image(photo())
        documents.accept_image(photo(product_id=8))
        documents.save_relevance(rows_of(scored(quality=70.0, one_class=True, card=card)))
        documents.save_relevance(rows_of(scored(product_id=8, score=None)))
        business = documents.page({"B1": [3]})["B1"]
        hidden, plain = sorted(business.images)
        assert (hidden.quality, hidden.one_class, hidden.findings) == (70.0, True, "blurred nsfw")
        assert hidden.looks == bytes.fromhex("0f" * 8 + "1e" * 32)
        assert (plain.one_class, plain.findings, plain.looks) == (None, "", b"")
        assert Card(**documents.decoded([plain.card, hidden.card])[1]) == card
        assert documents.decoded([business.scores[3].parts[7]]) == [{"image": 0.4}]
        assert documents.decoded([]) == []
        assert business.scores[3].values == {7: 0.5, 8: None}

    def test_shows_a_patch_at_once(self, documents, row):
        patch = {"card.alt": "a plate", "card.invalid": ["nsfw"], "quality": 9.0}
        assert documents.patch_relevance(*KEY, 1, patch)
        [image] = documents.page({"B1": [3]})["B1"].images
        [card] = documents.decoded([image.card])
        assert (card["alt"], image.quality, image.findings) == ("a plate", 9.0, "nsfw")

    def test_leaves_out_what_was_deleted(self, documents, row):
        documents.delete_image(*KEY)
        assert found(documents.page({"B1": [3]})) == {"B1": {}}

    @pytest.mark.parametrize(
        "docid", ["'; DROP TABLE imgrel; --", '{"$gt": ""}', "$where", '"]', "%", "☕"]
    )
    def test_takes_ids_for_what_they_are(self, documents, row, docid):
        assert documents.businesses([docid]) == {}
        assert found(documents.page({docid: [3], "B1": [3]})) == {docid: {}, "B1": {7: {3: 0.5}}}
        assert documents.relevance([docid], [3]) == []

    def test_of_thousands_of_businesses_is_read_at_once(self, documents, row):
        wanted = {f"X{number}": [3, 4] for number in range(2_000)}
        assert found(documents.page({**wanted, "B1": [3]}))["B1"] == {7: {3: 0.5}}


def found(page: dict[str, PageImages]) -> dict[str, dict[int, dict[int, float | None]]]:
    """The scores of a page by business, image and category."""
    return {
        docid: {
            product_id: {
                catid: scores.values[product_id]
                for catid, scores in business.scores.items()
                if product_id in scores.values
            }
            for product_id in business.product_ids
        }
        for docid, business in page.items()
    }


def enhanced(key: str) -> dict[str, object]:
    return {"enhancement": Enhancement(action="enhanced", key=key).model_dump(mode="json")}


class TestEverything:
    """What is read from end to end, a page at a time."""

    def test_comes_whole_whatever_the_size_of_a_page(self, documents, small_pages):
        keys = {("B1", number) for number in (1, 2, 10)} | {("B2", 1), ("B10", 3)}
        for docid, product_id in keys:
            documents.accept_image(photo(docid=docid, product_id=product_id))
            documents.patch_metadata(docid, product_id, 1, {"tags": []})
            documents.save_relevance(rows_of(scored(docid=docid, product_id=product_id)))
        documents.save_relevance(rows_of(scored(3), scored(4)))
        documents.delete_image("B1", 10)
        rows = list(documents.every_image())
        assert sorted((row.docid, row.product_id) for row in rows) == sorted(keys)
        assert {row.product_id for row in rows if row.state is ImageState.DELETED} == {10}
        for read in (documents.every_metadata, documents.every_scored):
            assert sorted(read()) == sorted(keys - {("B1", 10)})

    def test_is_nothing_where_there_is_nothing(self, documents):
        assert not any(
            [*read()]
            for read in (
                documents.every_image,
                documents.every_metadata,
                documents.every_scored,
                documents.every_object_key,
                documents.every_pixel_hash,
            )
        )

    def test_objects_come_in_order_and_once_and_only_those_that_are_named(
        self, documents, small_pages
    ):
        for number, key in enumerate(("originals/b", "originals/a", "originals/b", "", "x"), 1):
            documents.accept_image(photo(product_id=number, original_key=key))
        for number, key in ((1, "enhanced/b"), (2, "enhanced/b"), (3, "originals/b"), (5, "y")):
            documents.patch_metadata("B1", number, 1, enhanced(key))
        documents.patch_metadata("B1", 4, 1, {"tags": []})
        documents.delete_image("B1", 5)
        named = ["enhanced/b", "originals/a", "originals/b"]
        assert list(documents.every_object_key()) == named

    def test_images_are_found_by_their_objects(self, documents):
        for number, key in enumerate(("o/a", "o/b", "o/a"), 1):
            documents.accept_image(photo(f"hash-{key[2:]}", product_id=number, original_key=key))
        documents.patch_metadata("B1", 2, 1, enhanced("e/b"))
        documents.save_pixel_fact("hash-a", "enhancement", "m/1", {"key": "e/a"})
        documents.save_pixel_fact("nobody's", "enhancement", "m/1", {"key": "e/c"})
        found = lambda key: sorted(documents.images_with(key))  # noqa: E731
        assert found("o/a") == found("e/a") == [("B1", 1), ("B1", 3)]
        assert found("o/b") == found("e/b") == [("B1", 2)]
        assert found("e/c") == found("none") == []
        assert len(documents.images_with("o/a", limit=1)) == 1
        assert documents.hashes_in_use(["hash-a", "hash-b", "none"]) == {"hash-a", "hash-b"}
        documents.delete_image("B1", 1)
        documents.delete_image("B1", 2)
        assert found("o/a") == found("e/a") == [("B1", 3)]
        assert found("o/b") == found("e/b") == []
        assert documents.hashes_in_use(["hash-a", "hash-b"]) == {"hash-a"}

    def test_the_generation_of_scores_is_read_by_keys(self, documents, row):
        documents.accept_image(photo(product_id=8))
        assert documents.scored_images([KEY, ("B1", 8), ("B2", 7)]) == {KEY: 1}
        assert documents.scored_images([]) == {}

    def test_what_is_known_of_an_image_is_dropped_only_where_no_photo_stands(self, documents, row):
        assert not documents.drop_findings(*KEY)
        assert documents.scored_images([KEY]) and documents.metadata([KEY])
        documents.delete_image(*KEY)
        assert documents.drop_findings(*KEY)
        assert documents.drop_findings("B1", 404)
        assert documents.accept_image(photo())[0].generation == 3
        assert documents.save_relevance(rows_of(scored(generation=3)))
        assert documents.patch_metadata(*KEY, 3, {"tags": ["new"]})
        assert documents.scored_images([KEY]) == {KEY: 3}


class TestDeliveries:
    def test_are_counted_one_after_the_other(self, documents):
        assert [documents.count_delivery("t") for _ in range(3)] == [1, 2, 3]
        assert documents.count_delivery("other") == 1

    def test_the_cause_is_kept_beside_the_count(self, documents):
        assert documents.delivery_cause("t") == ""
        documents.count_delivery("t")
        documents.note_delivery("t", "ran past its deadline")
        assert documents.delivery_cause("t") == "ran past its deadline"
        assert documents.count_delivery("t") == 2
        assert documents.delivery_cause("t") == "ran past its deadline"

    def test_a_cause_noted_before_any_count_is_no_delivery(self, documents):
        documents.note_delivery("t", "why")
        assert documents.count_delivery("t") == 1
        assert documents.delivery_cause("t") == "why"

    def test_what_a_process_has_survived_is_counted_anew(self, documents):
        for task in ("t", "other"):
            documents.count_delivery(task)
            documents.note_delivery(task, "why")
        documents.forget_deliveries("t")
        documents.forget_deliveries("never counted")
        assert documents.delivery_cause("t") == ""
        assert documents.count_delivery("t") == 1
        assert documents.count_delivery("other") == 2


class TestDeadLetters:
    def test_one_failure_parked_twice_is_one_record_that_counts(self, documents):
        first = letter(first_at=1.0, last_at=1.0, message="old")
        assert documents.park(first) == first
        again = documents.park(letter(first_at=5.0, last_at=5.0, message="new", host="h"))
        assert (again.tries, again.first_at, again.last_at) == (2, 1.0, 5.0)
        assert (again.message, again.host) == ("new", "h")
        assert documents.dead_letters() == [again]

    def test_are_listed_newest_first_by_queue_and_business(self, documents):
        for number in range(4):
            queue, docid = f"q{number % 2}", f"B{number // 2}"
            documents.park(letter(str(number), queue=queue, docid=docid, last_at=float(number)))

        def keys(**wanted):
            return [one.key for one in documents.dead_letters(**wanted)]

        assert keys() == ["3", "2", "1", "0"]
        assert keys(limit=2) == ["3", "2"]
        assert keys(queue="q0") == ["2", "0"]
        assert keys(docid="B1") == ["3", "2"]
        assert keys(queue="q0", docid="B1") == ["2"]
        assert keys(queue="none") == []
        assert keys(before=2.0) == ["1", "0"]
        assert keys(queue="q1", before=2.0) == ["1"]
        assert keys(after=2.0) == ["3", "2"]
        assert keys(after=1.0, before=3.0, docid=None) == ["2", "1"]

    def test_are_found_and_counted_by_their_cause(self, documents):
        for number, cause in enumerate(("ValueError", "FetchFailed", "ValueError")):
            documents.park(letter(str(number), queue="q", exception=cause, last_at=float(number)))
        documents.park(letter("3", queue="other", exception="ValueError"))
        found = documents.dead_letters(queue="q", exception="ValueError")
        assert [one.key for one in found] == ["2", "0"]
        assert documents.count_dead_letters() == {
            ("q", "ValueError"): 2,
            ("q", "FetchFailed"): 1,
            ("other", "ValueError"): 1,
        }
        assert documents.count_dead_letters(queue="q", after=1.0, before=100.0) == {
            ("q", "ValueError"): 1,
            ("q", "FetchFailed"): 1,
        }
        assert documents.count_dead_letters(exception="FetchFailed") == {("q", "FetchFailed"): 1}
        assert documents.count_dead_letters(docid="nobody") == {}
        assert documents.dead_letter("1").exception == "FetchFailed"
        assert documents.dead_letter("none") is None

    def test_can_be_dropped_once(self, documents):
        documents.park(letter())
        assert documents.drop_dead_letter("k")
        assert not documents.drop_dead_letter("k")
        assert documents.dead_letters() == []

    def test_whatever_a_foreign_message_held_can_be_parked(self, documents):
        body = [{"docid": "\ud800", "n": 2**70, "x": float("inf"), "\udfff": ["\x00", None]}]
        documents.park(letter(args=body, message="bad name: \udcff", product_id=None))
        [found] = documents.dead_letters()
        assert found.args[0]["docid"] == "\\ud800"
        assert found.message == "bad name: \\udcff"


class TestNamedValues:
    @pytest.mark.parametrize("value", [0, "", [1, "é"], {"a": {"b": None}}, 0.1])
    def test_are_read_back_as_they_were(self, documents, value):
        documents.save_value("background", value)
        assert documents.value("background") == value

    def test_are_replaced_and_unknown_ones_are_none(self, documents):
        documents.save_value("v", 1)
        documents.save_value("v", 2)
        assert documents.value("v") == 2
        assert documents.value("unknown") is None


class TestLeases:
    def test_are_held_by_one_until_they_are_given_back(self, documents):
        assert documents.take_lease("training", "a", 60)
        assert documents.take_lease("training", "a", 60)
        assert not documents.take_lease("training", "b", 60)
        assert documents.take_lease("other", "b", 60)
        documents.give_lease_back("training", "b")
        assert not documents.take_lease("training", "b", 60)
        documents.give_lease_back("training", "a")
        assert documents.take_lease("training", "b", 60)

    def test_end_by_themselves_when_nobody_renews_them(self, documents):
        assert documents.take_lease("training", "a", -1)
        assert documents.take_lease("training", "b", 60)
        assert not documents.take_lease("training", "a", 60)

    def test_are_given_to_one_of_those_who_ask_at_once(self, open_documents):
        holders = [(open_documents, str(number)) for number in range(4)]
        assert sum(run_side_by_side(take_lease, holders)) == 1


class TestLife:
    def test_a_store_answers_and_can_be_used_after_it_was_closed(self, documents, row):
        documents.check()
        documents.close()
        assert documents.image(*KEY) == row

    def test_threads_that_write_at_once_lose_nothing(self, documents, row):
        def patch(name):
            for number in range(15):
                assert documents.patch_metadata(*KEY, 1, {f"models.{name}-{number}": "m"})

        threads = [threading.Thread(target=patch, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(documents.metadata([KEY])[KEY].models) == 8 * 15

    def test_processes_that_write_at_once_lose_nothing(self, open_documents):
        counts = run_side_by_side(hammer, [(open_documents, "one"), (open_documents, "two")])
        documents = open_documents()
        assert sorted(counts[0] + counts[1]) == list(range(1, 2 * ROUNDS + 1))
        assert len(documents.metadata([KEY])[KEY].models) == 2 * ROUNDS
        assert [one.tries for one in documents.dead_letters()] == [2 * ROUNDS]
        assert documents.image(*KEY).generation == 1
        documents.close()

    def test_scores_that_processes_write_for_one_business_are_all_kept(self, open_documents):
        wrote = run_side_by_side(
            score_images, [(open_documents, number) for number in range(WRITERS)]
        )
        assert wrote == [True] * WRITERS
        documents = open_documents()
        rows = documents.relevance(["B1"], [3, 4])
        expected = {
            (number, catid): (number - 1) // IMAGES_EACH
            for number in range(1, WRITERS * IMAGES_EACH + 1)
            for catid in (3, 4)
        }
        assert {(row.product_id, row.catid): row.score for row in rows} == expected
        assert all(row.card.alt == f"by {row.score:.0f}" for row in rows)
        documents.close()

    def test_what_was_accepted_outlives_kill_9(self, open_documents):
        run_and_kill(accept_many, open_documents)
        documents = open_documents()
        assert len(documents.images(["B1"])) == 50
        assert documents.count_delivery("t") == 2
        assert len(documents.dead_letters()) == 1
        documents.close()


ROUNDS = 30
WRITERS = 8
IMAGES_EACH = 5


def take_lease(open_documents: Opener, holder: str) -> bool:
    documents = open_documents()
    taken = documents.take_lease("training", holder, 60)
    documents.close()
    return taken


def score_images(open_documents: Opener, writer: int) -> bool:
    """Score images of one business under several categories, twice over."""
    documents = open_documents()
    numbers = range(writer * IMAGES_EACH + 1, (writer + 1) * IMAGES_EACH + 1)
    for number in numbers:
        documents.accept_image(photo(product_id=number))
    kept = [
        documents.save_relevance(
            rows_of(*(scored(catid, product_id=number, score=score) for catid in (3, 4)))
        )
        and documents.patch_relevance("B1", number, 1, {"card.alt": f"by {writer}"})
        for score in (0.1, float(writer))
        for number in numbers
    ]
    documents.close()
    return all(kept)


def hammer(open_documents: Opener, name: str) -> list[int]:
    documents = open_documents()
    counts = []
    for number in range(ROUNDS):
        documents.accept_image(photo())
        assert documents.patch_metadata(*KEY, 1, {f"models.{name}-{number}": "m"})
        documents.park(letter())
        counts.append(documents.count_delivery("t"))
    return counts


def accept_many(open_documents: Opener) -> None:
    documents = open_documents()
    for number in range(50):
        documents.accept_image(photo(product_id=number + 1))
    documents.count_delivery("t")
    documents.park(letter())
