"""Questions of before, put to two models once more."""

import time
from types import SimpleNamespace

import pytest

from pipeline.errors import JustLensError, StoreUnavailable
from pipeline.feedback import Chosen
from pipeline.retraining.comparison import Question
from pipeline.retraining.roll import HOUR, kept_hours, roll
from pipeline.retraining.shadow import Pair
from pipeline.retraining.traffic import (
    businesses_needed,
    lately,
    of_events,
    of_file,
    portions,
    questions,
    replay,
)
from tests.unit.retraining.pages import page
from tests.unit.stores.test_events import click, event
from tests.unit.stores.test_queries import typed

PAGE = page(cafe=[(1, 0.5)])


@pytest.fixture
def stores(documents, objects, queries, events):
    return SimpleNamespace(documents=documents, objects=objects, queries=queries, events=events)


def test_queries_come_most_asked_first_with_the_businesses_that_were_clicked_on() -> None:
    asked = of_events(
        [
            Chosen("tea", "", "", None, 4),
            Chosen("cofee", "Coffee Shops", "b", 1, 2),
            Chosen("cofee", "Coffee Shops", "a", 7, 3),
            Chosen("cofee", "", "a", 8, 1),
        ]
    )
    assert list(asked.items()) == [("cofee", ["a", "b"]), ("tea", [])]


def test_a_file_holds_queries_as_lines_or_as_the_report_writes_them(tmp_path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text(
        'tea\n\n{"query": "cofee", "category": "", "docid": "a", "product_id": 1, "count": 3}\n'
        '{"query": "kebab"}\n  tea \n'
    )
    assert list(of_file(path).items()) == [("cofee", ["a"]), ("tea", []), ("kebab", [])]


def test_lately_is_what_was_typed_wherever_it_lies_by_now_and_what_else_was_shown(stores) -> None:
    now = time.time()
    stores.queries.save([typed(str(number), "tea") for number in range(2)])
    roll(stores, days=180, now=now + 2 * HOUR)
    stores.queries.save([typed("3", "cofee"), *(typed(f"k{n}", "kebab") for n in range(3))])
    stores.events.save([click("c", query="cofee", docid="a"), event("s", query="soup")])
    assert len(list(kept_hours(stores))) == 1
    assert list(lately(stores, now - 60).items()) == [
        ("kebab", []),
        ("tea", []),
        ("cofee", ["a"]),
        ("soup", []),
    ]
    assert lately(stores, now + 2 * HOUR) == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'tea\n{"query": \n', "line 2 is no JSON"),
        (b'{"query": ""}', "line 1 has no query"),
        (b'{"query": 3}', "line 1 has no query"),
        (b"\xff\xfe\xff", "cannot be read"),
    ],
)
def test_a_file_that_holds_something_else_is_refused_by_its_line(tmp_path, content, words) -> None:
    path = tmp_path / "queries"
    path.write_bytes(content)
    with pytest.raises(JustLensError, match=words):
        of_file(path)
    with pytest.raises(JustLensError, match="cannot be read"):
        of_file(tmp_path / "none")


class TestQuestions:
    EVERYONE = tuple(f"b{number:02}" for number in range(60))

    def test_ask_every_query_of_each_page_of_businesses_in_turn(self) -> None:
        found = list(questions({"tea": ["b59"], "cofee": []}, self.EVERYONE, 100))
        assert [(one.query, len(one.docids)) for one in found] == [
            ("tea", 25),
            ("cofee", 25),
            ("tea", 25),
            ("cofee", 25),
            ("tea", 10),
            ("cofee", 10),
        ]
        assert found[0].docids[:2] == ("b59", "b00")
        assert len({one.key for one in found}) == len(found)
        for query in ("tea", "cofee"):
            asked_of = [docid for one in found if one.query == query for docid in one.docids]
            assert sorted(asked_of) == sorted(self.EVERYONE)

    def test_are_no_more_than_wanted_and_about_no_more_businesses_than_needed(self) -> None:
        asked = {"tea": [], "cofee": [], "kebab": []}
        needed = businesses_needed(asked, 4)
        found = list(questions(asked, self.EVERYONE, 4))
        assert [one.query for one in found] == ["tea", "cofee", "kebab", "tea"]
        assert max(docid for one in found for docid in one.docids) < f"b{needed}"
        assert needed == 50

    def test_are_none_without_queries(self) -> None:
        assert list(questions({}, self.EVERYONE, 10)) == []


def test_both_are_asked_each_question_and_take_turns_at_being_first() -> None:
    order: list[str] = []
    pair = Pair("ours@1", "theirs@2", lambda question: order.append("theirs") or PAGE)
    asked = [Question(("cafe",), query=f"q{number}") for number in range(3)]
    found = list(replay(asked, lambda question: order.append("ours") or PAGE, pair))
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert [one.query for one in found] == ["q0", "q1", "q2"]
    assert all(one.is_replay and one.likeness.same_top == 1 for one in found)


def test_a_challenger_that_fails_is_recorded_and_the_replay_goes_on() -> None:
    def fail(question: Question):
        raise StoreUnavailable("it is away")

    asked = [Question(("cafe",), query=f"q{number}") for number in range(2)]
    found = list(replay(asked, lambda question: PAGE, Pair("ours@1", "theirs@2", fail)))
    assert [one.error for one in found] == ["StoreUnavailable"] * 2


def test_a_champion_without_its_model_is_nothing_to_compare_with() -> None:
    without = page("no vectors", cafe=[])
    with pytest.raises(JustLensError, match="does without its model: no vectors"):
        list(replay([Question(("cafe",))], lambda q: without, Pair("a", "b", lambda q: PAGE)))


def test_portions_lose_nothing() -> None:
    assert list(portions(range(5), 2)) == [[0, 1], [2, 3], [4]]
