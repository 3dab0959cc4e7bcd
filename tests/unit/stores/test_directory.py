"""What the relational store does, whatever its database."""

import pytest

from pipeline.records import AltTag, Category
from pipeline.stores.relational import NAME_LENGTH
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
    def test_are_inserted_and_replaced(self, directory):
        assert directory.save_alt_text(alt("first"))
        newer = alt("second", score=0.4, review_state="approved", updated_at=5.0)
        assert directory.save_alt_text(newer)
        other = alt(docid="B2")
        directory.save_alt_text(other)
        assert directory.alt_texts(["B1"]) == {("B1", 7): newer}
        assert directory.alt_texts(["B2", "B1", "none"]) == {("B1", 7): newer, ("B2", 7): other}

    def test_what_a_person_wrote_is_not_overwritten_by_a_run(self, directory):
        directory.save_alt_text(alt("run"))
        manual = alt("person", source="manual")
        assert directory.save_alt_text(manual)
        assert not directory.save_alt_text(alt("run again", review_state="x", updated_at=1.0))
        assert directory.alt_texts(["B1"]) == {("B1", 7): manual}

    def test_what_a_person_wrote_is_overwritten_by_a_person(self, directory):
        directory.save_alt_text(alt("person", source="manual"))
        assert directory.save_alt_text(alt("editor", source="manual"))
        assert directory.alt_texts(["B1"])["B1", 7].alttag == "editor"

    def test_can_be_deleted_and_written_again(self, directory):
        directory.save_alt_text(alt("person", source="manual"))
        directory.delete_alt_text("B1", 7)
        directory.delete_alt_text("B1", 7)
        assert directory.alt_texts(["B1"]) == {}
        assert directory.save_alt_text(alt("run"))


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
