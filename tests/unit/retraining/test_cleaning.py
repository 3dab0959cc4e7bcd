"""Which queries people asked, and which of these teach something."""

import pytest

from pipeline.retraining.cleaning import (
    MOST_AN_HOUR,
    MOST_REPEATS,
    Asked,
    junk_reason,
    normalised,
    without_bots,
)


def asked(query: str, visitor: str, at: float) -> Asked:
    return Asked(query, "", "none", 0.0, visitor, at)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("  Cofee\tSHOP ", "cofee shop"), ("\ufb01sh", "fish"), ("Straße", "strasse"), ("", "")],
)
def test_queries_are_compared_without_case_compatibility_and_white_space(typed, expected):
    assert normalised(typed) == expected


class TestPrograms:
    def test_lose_all_they_asked_in_the_day(self):
        fast = [asked(f"q{n}", "bot", n) for n in range(MOST_AN_HOUR + 1)]
        later = asked("one more", "bot", 50_000)
        person = asked("dentist", "ann", 5)
        kept, dropped = without_bots([*fast, person, later])
        assert kept == [person]
        assert dropped == {"bot": MOST_AN_HOUR + 2}

    def test_are_told_from_people_by_the_busiest_hour(self):
        slow = [asked(f"q{n}", "ann", n * 60) for n in range(3 * MOST_AN_HOUR)]
        kept, dropped = without_bots(slow)
        assert len(kept) == 3 * MOST_AN_HOUR
        assert not dropped

    def test_are_not_looked_for_where_nobody_is_known(self):
        kept, dropped = without_bots([asked("q", "", 1) for _ in range(500)])
        assert len(kept) == 500
        assert not dropped


def test_a_visitor_counts_a_few_times_for_the_same_query():
    again = [asked(query, "ann", 1) for query in ["Cofee", "cofee "] * 5]
    kept, dropped = without_bots([*again, asked("cofee", "bob", 2), asked("tea", "ann", 3)])
    assert len(kept) == MOST_REPEATS + 2
    assert dropped == {"repeated": 10 - MOST_REPEATS}


@pytest.mark.parametrize(
    "query",
    [
        "coffee shop",
        "cofee shp near me",
        "ac repair",
        "bmw",
        "cctv",
        "24x7 chemist",
        "rhythm classes",
        "mehndi",
        "मेहंदी",
        "школа танцев",
        "schwarzwald",
        "hotels st. john's",
        "asdf hotels",
    ],
)
def test_what_people_look_for_is_no_junk(query):
    assert junk_reason(query) == ""


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("https://example.org/a", "url"),
        ("www.example", "url"),
        ("example.com", "url"),
        ("2026", "no letters"),
        ("?!", "no letters"),
        ("", "no letters"),
        ("x" * 101, "too long"),
        ("one two three " * 5, "too long"),
        ("asdf", "gibberish"),
        ("lkjh qwer", "gibberish"),
        ("aaaaaa", "gibberish"),
        ("hahaha", "gibberish"),
        ("xkcdq", "gibberish"),
        ("astrptkl", "gibberish"),
    ],
)
def test_junk_says_why_it_is(query, reason):
    assert junk_reason(normalised(query)) == reason
