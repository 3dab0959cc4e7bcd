"""What the relational store does, whatever its database."""

import pytest

from pipeline.records import AltSource, AltTag, Category, ReviewState
from pipeline.stores.relational import NAME_LENGTH, AltPlace, AltTexts
from tests.unit.stores.conftest import Opener
from tests.unit.stores.processes import run_side_by_side

SUSHI = Category(catid=30, name="Sushi")
BAR = Category(catid=20, name="Bar")
HOT = Category(catid=40, name="Brunch", is_hot=True)


def alt(text: str = "a plate", **fields) -> AltTag:
    return AltTag(**{"docid": "B1", "product_id": 7, "alttag": text, "score": 0.31, **fields})


class TestCategories:
    def test_come_hot_first_and_then_by_catid(self, directory):
        directory.save_categories("B1", [SUSHI, BAR, HOT])
        directory.save_categories("B2", [BAR])
        assert directory.categories(["B1", "B2", "none"]) == {
            "B1": [HOT, BAR, SUSHI],
            "B2": [BAR],
            "none": [],
        }
        assert directory.categories([]) == {}

    def test_of_a_business_are_replaced_as_a_whole(self, directory):
        directory.save_many_categories({"B1": [SUSHI, BAR], "B2": [SUSHI]})
        directory.save_categories("B1", [HOT, BAR.model_copy(update={"name": "Wine bar"})])
        found = directory.categories(["B1", "B2"])
        assert [one.name for one in found["B1"]] == ["Brunch", "Wine bar"]
        assert found["B2"] == [SUSHI]
        directory.save_categories("B1", [])
        assert directory.categories(["B1"]) == {"B1": []}

    def test_of_thousands_of_businesses_are_saved_and_read(self, directory):
        lists = {f"B{number:05}": [BAR, SUSHI] for number in range(2000)}
        directory.save_many_categories(lists)
        assert directory.categories(list(lists)) == lists

    @pytest.mark.parametrize(
        "wrong",
        [
            [Category(catid=1, name="")],
            [Category(catid=1, name="x" * (NAME_LENGTH + 1))],
            [SUSHI, SUSHI],
        ],
    )
    def test_a_list_that_the_tables_cannot_hold_is_refused_as_a_whole(self, directory, wrong):
        directory.save_categories("B1", [BAR])
        with pytest.raises(ValueError):
            directory.save_many_categories({"B1": [HOT], "B2": wrong})
        assert directory.categories(["B1"]) == {"B1": [BAR]}

    def test_names_of_any_script_and_the_full_length_are_kept(self, directory):
        names = ["寿司" + "😀" * (NAME_LENGTH - 2), "Café", "Cafe", "cafe", "cafe "]
        categories = [Category(catid=number, name=name) for number, name in enumerate(names, 1)]
        directory.save_categories("B1", categories)
        directory.add_vocabulary(names)
        assert directory.categories(["B1"]) == {"B1": categories}
        assert directory.vocabulary() == sorted(names)


class TestListing:
    def test_is_the_categories_in_order_with_the_version_of_all_names(self, directory):
        assert directory.listing("B1") == ([], directory.vocabulary_version())
        hot = Category(catid=9, name="Zoo", is_hot=True)
        directory.save_many_categories({"B1": [SUSHI, BAR, hot], "B2": [BAR]})
        version = directory.vocabulary_version()
        assert directory.listing("B1") == (directory.categories(["B1"])["B1"], version)
        assert directory.listing("B1")[0][0] == hot
        assert directory.listing("nobody") == ([], version)


class TestVocabulary:
    def test_holds_the_names_of_both_tables_once_and_sorted(self, directory):
        directory.add_vocabulary(["Sushi", "Ramen"])
        directory.add_vocabulary(["Ramen", "Zoo", "Ramen"])
        directory.save_many_categories({"B1": [SUSHI, BAR], "B2": [BAR]})
        assert directory.vocabulary() == ["Bar", "Ramen", "Sushi", "Zoo"]

    def test_its_version_changes_with_the_names_and_only_then(self, directory):
        versions = [directory.vocabulary_version()]

        def is_new():
            versions.append(directory.vocabulary_version())
            return versions[-1] not in versions[:-1]

        assert not is_new()
        directory.add_vocabulary(["Ramen"])
        assert is_new()
        directory.add_vocabulary(["Ramen"])
        directory.add_vocabulary([])
        assert not is_new()
        directory.save_categories("B1", [SUSHI])
        assert is_new()
        directory.save_categories("B1", [SUSHI])
        directory.save_alt_text(alt())
        assert not is_new()
        directory.save_categories("B1", [SUSHI.model_copy(update={"name": "Maki"})])
        assert is_new()
        directory.save_categories("B1", [])
        assert is_new()


class TestAltTexts:
    def test_are_inserted_replaced_and_read_by_their_images(self, directory):
        first = alt("first")
        assert directory.save_alt_text(first) == first
        newer = alt("second", score=0.4, updated_at=5.0)
        assert directory.save_alt_text(newer) == newer
        other = alt(docid="B2")
        directory.save_alt_text(other)
        assert directory.alt_text("B1", 7) == newer
        assert directory.alt_text("B1", 8) is None
        keys = [("B2", 7), ("B1", 7), ("none", 7), ("B1", 8)]
        assert directory.alt_texts_of(keys) == {("B1", 7): newer, ("B2", 7): other}
        assert directory.alt_texts_of([]) == {}

    def test_can_be_deleted_and_written_again(self, directory):
        directory.save_alt_text(alt("person", source="manual"))
        assert directory.delete_alt_text("B1", 7)
        assert not directory.delete_alt_text("B1", 7)
        assert directory.alt_text("B1", 7) is None
        assert directory.save_alt_text(alt("run")).alttag == "run"

    def test_all_are_read_from_end_to_end_whatever_the_size_of_a_page(self, directory, monkeypatch):
        monkeypatch.setattr("pipeline.stores.database.PAGE", 2)
        assert list(directory.every_alt_text()) == []
        keys = [("B1", 1), ("B1", 2), ("B1", 10), ("B2", 1)]
        saved = [alt(docid=docid, product_id=product_id) for docid, product_id in keys]
        for one in reversed(saved):
            directory.save_alt_text(one)
        assert list(directory.every_alt_text()) == saved


class TestAltTextsOfPeople:
    """What a run for the same photo, an older or a newer one makes of them."""

    def test_are_not_overwritten_by_a_run(self, directory):
        directory.save_alt_text(alt("run"))
        manual = alt("person", source="manual", review_state="approved", generation=1)
        assert directory.save_alt_text(manual) == manual
        assert directory.save_alt_text(alt("run again", updated_at=1.0, generation=1)) == manual
        assert directory.alt_text("B1", 7) == manual

    def test_are_overwritten_by_people(self, directory):
        directory.save_alt_text(alt("person", source="manual"))
        assert directory.save_alt_text(alt("editor", source="manual")).alttag == "editor"
        assert directory.alt_text("B1", 7).alttag == "editor"

    def test_are_opened_once_for_review_when_the_photo_is_another_one(self, directory):
        manual = alt("person", source="manual", review_state="approved", generation=1)
        directory.save_alt_text(manual)
        run = alt("run", generation=2, updated_at=9.0)
        opened = directory.save_alt_text(run)
        assert (opened.alttag, opened.source) == ("person", "manual")
        assert (opened.review_state, opened.generation, opened.updated_at) == ("open", 2, 9.0)
        directory.approve_alt_texts([opened])
        assert directory.save_alt_text(run).review_state == "approved"

    def test_are_left_as_they_are_when_it_is_not_known_which_photo_they_are_about(self, directory):
        manual = alt("person", source="manual", review_state="approved")
        directory.save_alt_text(manual)
        stands = directory.save_alt_text(alt("run", generation=3))
        assert stands == manual.model_copy(update={"generation": 3})
        assert directory.save_alt_text(alt("run", generation=4)).review_state == "open"

    def test_that_were_written_while_the_photo_changed_are_open(self, directory):
        directory.save_alt_text(alt("run", generation=2))
        late = alt("person", source="manual", review_state="approved", generation=1)
        stands = directory.save_alt_text(late)
        assert (stands.alttag, stands.review_state, stands.generation) == ("person", "open", 2)

    def test_approved_by_them_stand_until_the_photo_is_another_one(self, directory):
        directory.save_alt_text(alt("run", generation=1))
        assert directory.approve_alt_texts([alt("run")]) == 1
        approved = directory.alt_text("B1", 7)
        assert (approved.source, approved.review_state) == ("generated", "approved")
        assert directory.save_alt_text(alt("other words", generation=1)) == approved
        newer = alt("newer photo", generation=2)
        assert directory.save_alt_text(newer) == newer
        assert directory.save_alt_text(alt("slow run", generation=1)) == newer
        assert directory.alt_text("B1", 7) == newer

    def test_are_approved_only_as_they_were_read(self, directory):
        for number in (1, 2, 3):
            directory.save_alt_text(alt("read", product_id=number))
        read = [alt("read", product_id=number) for number in (1, 2, 4)]
        directory.save_alt_text(alt("changed since", product_id=2))
        assert directory.approve_alt_texts(read) == 1
        assert directory.approve_alt_texts([]) == 0
        approved = AltTexts(state=ReviewState.APPROVED)
        assert [one.product_id for one in directory.alt_texts(approved)] == [1]


class TestListOfAltTexts:
    """Open ones first, among them those of people, then by business and image."""

    @pytest.fixture
    def rows(self, directory) -> list[AltTag]:
        ordered = [
            alt(
                docid=f"{source}-{docid}",
                product_id=product_id,
                source=source,
                review_state=state,
            )
            for state, ids in (("open", (3, 20)), ("approved", (4, 100)))
            for source in ("manual", "generated")
            for docid in "ab"
            for product_id in ids
        ]
        for row in reversed(ordered):
            directory.save_alt_text(row)
        return ordered

    @pytest.mark.parametrize("limit", [1, 2, 5, 100])
    def test_is_read_page_by_page_in_that_order(self, directory, rows, limit):
        read: list[AltTag] = []
        while page := directory.alt_texts(AltTexts(), place(read[-1]) if read else None, limit):
            assert len(page) <= limit
            read += page
        assert read == rows

    @pytest.mark.parametrize(
        "wanted",
        [
            {"state": ReviewState.OPEN},
            {"state": ReviewState.APPROVED, "source": AltSource.GENERATED},
            {"source": AltSource.MANUAL},
            {"docid": "manual-a"},
            {"docid": "generated-b", "state": ReviewState.OPEN},
            {"docid": "none"},
        ],
    )
    def test_can_be_narrowed_and_counted_so(self, directory, rows, wanted):
        names = {"state": "review_state"}
        fitting = [
            row
            for row in rows
            if all(getattr(row, names.get(key, key)) == value for key, value in wanted.items())
        ]
        read: list[AltTag] = []
        while page := directory.alt_texts(
            AltTexts(**wanted), place(read[-1]) if read else None, limit=2
        ):
            read += page
        assert read == fitting
        assert directory.count_alt_texts(AltTexts(**wanted), most=100) == len(fitting)
        assert directory.count_alt_texts(AltTexts(**wanted), most=2) == min(len(fitting), 2)

    def test_goes_on_where_it_was_though_what_was_read_has_been_approved(self, directory, rows):
        wanted = AltTexts(state=ReviewState.OPEN)
        first = directory.alt_texts(wanted, limit=4)
        directory.approve_alt_texts(first)
        assert first + directory.alt_texts(wanted, place(first[-1])) == rows[:8]


def place(row: AltTag) -> AltPlace:
    return AltPlace(row.review_state, row.source, row.docid, row.product_id)


def test_what_a_person_writes_stands_whatever_runs_write_at_the_same_time(open_directory):
    run_side_by_side(write_or_run, [(open_directory, number) for number in range(3)])
    directory = open_directory()
    rows = directory.alt_texts(AltTexts())
    assert len(rows) == 25
    assert {(row.alttag, row.source) for row in rows} == {("person", "manual")}
    directory.close()


def write_or_run(open_directory: Opener, process: int) -> None:
    directory = open_directory()
    for number in range(1, 26):
        if process:
            directory.save_alt_text(alt("run", product_id=number, generation=process))
        else:
            directory.save_alt_text(alt("person", product_id=number, source="manual", generation=1))
    directory.close()


def test_processes_that_save_at_once_leave_whole_lists(open_directory):
    run_side_by_side(save_often, [(open_directory, 1), (open_directory, 2)])
    directory = open_directory()
    lists = directory.categories(["B1", "B2"])
    assert all({one.name for one in found} in ({"n1"}, {"n2"}) for found in lists.values())
    assert all(len(found) == 3 for found in lists.values())
    directory.check()
    directory.close()


def save_often(open_directory: Opener, name: int) -> None:
    directory = open_directory()
    for _ in range(40):
        listed = [Category(catid=name * 10 + number, name=f"n{name}") for number in range(3)]
        directory.save_many_categories({"B1": listed, "B2": listed})
