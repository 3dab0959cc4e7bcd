"""Strata, and the parts of the data."""

from collections import Counter

import pytest

from pipeline.retraining.splitting import Part, frequencies, oov_band, parts, table


def test_the_head_makes_up_half_of_what_is_asked():
    counts = {"a": 50, "b": 30, "c": 10, "d": 5, "e": 1, "f": 1}
    found = frequencies(counts)
    assert found == {"a": "head", "b": "torso", "c": "tail", "d": "tail", "e": "tail", "f": "tail"}


def test_what_is_asked_equally_often_is_in_one_stratum():
    assert set(frequencies(dict.fromkeys("abcdef", 7)).values()) == {"head"}
    assert set(frequencies(dict.fromkeys("abcdef", 1)).values()) == {"tail"}
    assert frequencies({}) == {}


@pytest.mark.parametrize(
    ("share", "band"),
    [(0, "known"), (0.09, "known"), (0.1, "some oov"), (0.5, "mostly oov"), (1, "mostly oov")],
)
def test_bands_of_oov_begin_where_the_primary_metric_is_measured(share, band):
    assert oov_band(share) == band


def divided(seed: int = 1, count: int = 500) -> tuple[list[list[str]], dict[str, str], dict]:
    members = [[f"q{n}", f"q{n} again"] if n % 5 == 0 else [f"q{n}"] for n in range(count)]
    strata = {group[0]: "head" if int(group[0][1:]) % 4 == 0 else "tail" for group in members}
    return members, strata, parts(members, strata, seed)


def test_a_group_is_never_divided():
    members, _, found = divided()
    assert all(len({found[text] for text in group}) == 1 for group in members)
    assert len(found) == 600


def test_every_part_has_its_share_of_every_stratum():
    _, strata, found = divided()
    for counts in table(strata, found).values():
        total = sum(counts.values())
        assert counts["test"] / total == pytest.approx(0.1, abs=0.03)
        assert counts["dev"] / total == pytest.approx(0.1, abs=0.03)


def test_the_seed_decides():
    assert divided(1)[2] == divided(1)[2]
    assert divided(1)[2] != divided(2)[2]


def test_a_query_stays_where_it_is_when_others_come():
    before, after = divided(count=500)[2], divided(count=550)[2]
    moved = Counter(before[text] is after[text] for text in before)
    assert moved[False] / len(before) < 0.05


def test_a_large_group_is_trained_with():
    large = [f"large {n}" for n in range(40)]
    members = [large, *([f"q{n}"] for n in range(100))]
    for seed in range(20):
        found = parts(members, {group[0]: "tail" for group in members}, seed)
        assert {found[text] for text in large} == {Part.TRAIN}
        assert Counter(found.values())[Part.TEST] == 10


def test_few_queries_are_all_to_train_with():
    assert parts([["a"], ["b"]], {"a": "tail", "b": "tail"}, 1) == {
        "a": Part.TRAIN,
        "b": Part.TRAIN,
    }
