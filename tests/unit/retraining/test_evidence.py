"""What is known of queries, merged from hours and files."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from pipeline.retraining.evidence import Evidence, UnreadableSource, add_file
from pipeline.retraining.roll import SCHEMA

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def query(text: str, **fields) -> dict:
    known = {"kind": "query", "at": NOON, "category": "", "how": "none", "confidence": 0.0}
    return {**known, "query": text, "visitor": "", "docid": "", "product_id": None, **fields}


def click(text: str, **fields) -> dict:
    return query(text, **{"kind": "click", "docid": "b", "product_id": 1, **fields})


def of_day(*hours: list[dict]) -> Evidence:
    evidence = Evidence()
    evidence.add_day(pa.Table.from_pylist(rows, SCHEMA) for rows in hours)
    return evidence


@pytest.fixture
def lines(tmp_path):
    def written(*rows) -> object:
        path = tmp_path / "lines.jsonl"
        text = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        path.write_text("\n".join(text), encoding="utf-8")
        return path

    return written


class TestHours:
    def test_count_each_query_once_however_it_was_typed(self):
        evidence = of_day([query("Cofee"), query("yoga")], [query(" cofee ")])
        assert evidence.asked == {"cofee": 2, "yoga": 1}
        assert evidence.read["queries"] == 3

    def test_keep_what_was_surely_meant(self):
        sure = {"category": "Coffee Shops", "how": "characters", "confidence": 0.9}
        guessed = {"category": "Bars", "how": "meaning", "confidence": 0.4}
        evidence = of_day([query("cofee", **sure), query("cofee", **guessed), query("zz top")])
        assert evidence.meant == {("cofee", "Coffee Shops"): 1}
        assert evidence.asked["cofee"] == 2

    def test_keep_what_was_clicked_on(self):
        evidence = of_day([query("cofee"), click("Cofee", category="Coffee Shops"), click("tea")])
        assert evidence.clicked == {("cofee", ("b", 1)): 1, ("tea", ("b", 1)): 1}
        assert evidence.chosen == {("cofee", "Coffee Shops"): 1}
        assert evidence.asked == {"cofee": 1, "tea": 1}

    def test_drop_programs_and_junk_and_say_how_much(self):
        fast = [query(f"hotel {n}", visitor="bot") for n in range(200)]
        evidence = of_day([*fast, query("www.example.org"), query("12345"), query("dentist")])
        assert evidence.asked == {"dentist": 1}
        assert evidence.dropped == {"bot": 200, "url": 1, "no letters": 1}


class TestFilesOfQueries:
    def test_count_clicks_and_queries_in_vain(self, lines):
        evidence = Evidence()
        known = {"query": "Cofee", "category": "Coffee Shops", "docid": "b", "product_id": 7}
        in_vain = {"query": "zeppelin", "category": "", "docid": "", "product_id": None}
        add_file(evidence, lines({**known, "count": 3}, "", {**in_vain, "count": 40}))
        assert evidence.asked == {"cofee": 3, "zeppelin": 1}
        assert evidence.clicked == {("cofee", ("b", 7)): 3}
        assert evidence.chosen == {("cofee", "Coffee Shops"): 3}


class TestFilesOfTriplets:
    def test_are_kept_with_their_negative_or_without(self, lines):
        evidence = Evidence()
        with_word = {
            "word": "henna",
            "anchor": "Henna ",
            "positive": " Henna  art",
            "negative": "N",
        }
        add_file(evidence, lines(with_word, {"anchor": "a", "positive": "b"}))
        assert evidence.triplets == {("henna", "Henna art", "N"): 1, ("a", "b", ""): 1}

    def test_teach_nothing_where_they_say_the_same(self, lines):
        evidence = Evidence()
        add_file(
            evidence,
            lines(
                {"anchor": "a", "positive": "A"},
                {"anchor": "a", "positive": "b", "negative": "B"},
            ),
        )
        assert not evidence.triplets
        assert evidence.dropped == {"says the same": 2}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (['{"query": "a"}', "no json"], "line 2: not JSON"),
        (["[]"], "line 1: not an object"),
        ([{"text": "a"}], "line 1: neither a query nor an anchor"),
        ([], "line 1: neither"),
        ([{"anchor": "a", "positive": 5}], "line 1: positive is 5"),
        ([{"anchor": " ", "positive": "b"}], "line 1: anchor is ' '"),
        ([{"query": "a", "count": 0}], "line 1: count is 0"),
        ([{"query": "a", "docid": "b", "product_id": "7"}], "line 1: 'b', '7' name no picture"),
    ],
)
def test_a_line_that_is_not_in_its_form_is_named(lines, rows, said):
    with pytest.raises(UnreadableSource, match=said):
        add_file(Evidence(), lines(*rows))


def test_a_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(UnreadableSource, match=r"none\.jsonl cannot be read"):
        add_file(Evidence(), tmp_path / "none.jsonl")
