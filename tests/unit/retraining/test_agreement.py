"""How far two answers to a question agree."""

import pytest

from pipeline.retraining.agreement import MOST_SCORES, likeness, rank_biased_overlap
from pipeline.retraining.comparison import Likeness
from tests.unit.retraining.pages import page


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ([1, 2, 3], [1, 2, 3], 1),
        ([1, 2, 3], [4, 5, 6], 0),
        ([], [], 1),
        ([], [1], 0),
        # By hand: for [a b] and [a c], (1 - p) / p (p + p^2 / 2) + p^2 / 2 = 1 - p / 2.
        ([1, 2], [1, 3], 1 - 0.9 / 2),
        # For [a b] and [c b], (1 - p) / p (p^2 / 2) + p^2 / 2 = p / 2.
        ([1, 2], [3, 2], 0.9 / 2),
        # A shorter order that is the beginning of the longer one would go on the same way.
        ([1, 2], [1, 2, 3, 4, 5], 1),
        # For [a] and [b a]: X_1 = 0, so that nothing is assumed; (1 - p) p / 2 + p^2 / 2 = p / 2.
        ([1], [2, 1], 0.9 / 2),
    ],
)
def test_rank_biased_overlap_is_that_of_the_paper(one, other, overlap) -> None:
    assert rank_biased_overlap(one, other) == pytest.approx(overlap)
    assert rank_biased_overlap(other, one) == pytest.approx(overlap)


def test_what_is_above_weighs_more() -> None:
    order = list(range(10))
    top, bottom = [1, 0, *order[2:]], [*order[:8], 9, 8]
    assert rank_biased_overlap(order, top) < rank_biased_overlap(order, bottom) < 1


def test_pages_are_compared_business_by_business() -> None:
    ours = page(a=[(1, 0.9), (2, 0.8)], b=[(5, 0.7)], c=[], d=[(8, None)])
    theirs = page(a=[(1, 0.61234), (2, 0.3)], b=[(6, 0.2)], c=[], d=[])
    assert likeness(ours, theirs) == Likeness(
        businesses=3,
        same_top=1,
        overlap=pytest.approx(1 / 3),
        champion_scores=(0.9, 0.7),
        challenger_scores=(0.6123, 0.2),
    )


def test_a_page_of_businesses_without_pictures_says_nothing() -> None:
    assert likeness(page(a=[]), page(a=[])) == Likeness()


def test_a_business_that_the_challenger_does_not_know_has_no_pictures_there() -> None:
    assert likeness(page(a=[(1, 0.9)]), page()).same_top == 0


def test_the_scores_of_a_large_page_are_cut_off() -> None:
    large = page(**{f"b{number}": [(number, 0.5)] for number in range(100)})
    found = likeness(large, large)
    assert (found.businesses, len(found.champion_scores)) == (100, MOST_SCORES)
