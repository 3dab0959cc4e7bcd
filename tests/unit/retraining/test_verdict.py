"""The verdict on a challenger, and the statistics that it goes by."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import kolmogorov

from pipeline.retraining.comparison import Comparison, Likeness
from pipeline.retraining.drift import (
    binned,
    kolmogorov_smirnov,
    population_stability,
    population_stability_p,
)
from pipeline.retraining.verdict import scores, verdict
from pipeline.settings import Settings

RANDOM = np.random.default_rng(1)
SCORES = np.round(RANDOM.beta(2, 3, 4000), 4)


def comparisons(count: int = 600, failed: int = 0, same: float = 0.9, **fields) -> list[Comparison]:
    """One for each of ``count`` queries about ten businesses; the last ``failed`` have failed."""
    slower = fields.pop("slower", 1.0)
    shifted = fields.pop("shifted", 0.0)
    name = fields.pop("name", "query")
    made = []
    for number in range(count):
        scores = SCORES[np.arange(10) + 5 * number % 3000]
        like = Likeness(
            10,
            round(10 * same),
            same,
            tuple(scores),
            tuple(np.clip(scores[::-1] + shifted, 0, 1)),
        )
        error = "ModelUnavailable" if number >= count - failed else ""
        seconds = 0.010 + 0.001 * (number % 5)
        made.append(
            Comparison(
                champion="minilm@1",
                challenger="champion@2",
                question=str(number),
                query=f"{name} {number}",
                champion_seconds=seconds,
                challenger_seconds=seconds * slower,
                likeness=None if error else like,
                error=error,
                **fields,
            )
        )
    return made


@pytest.mark.parametrize(
    ("made", "outcome", "reasons"),
    [
        (comparisons(), "pass", []),
        (comparisons(499), "wait", ["499 of at least 500 comparisons"]),
        (comparisons(499, same=0.1, slower=9), "wait", ["499 of at least 500 comparisons"]),
        ([], "wait", ["0 of at least 500 comparisons"]),
        (comparisons(failed=6), "pass", []),
        (comparisons(failed=7), "fail", ["7 of 600 answers failed (1.2%)"]),
        (comparisons(same=0.6), "fail", ["the same for 60.0% of the businesses"]),
        (comparisons(slower=1.4), "pass", []),
        (comparisons(slower=1.6), "fail", ["1.60 times the champion's"]),
        (comparisons(shifted=0.02), "pass", []),
        (comparisons(shifted=0.3), "fail", ["population stability", "Kolmogorov-Smirnov"]),
        (
            comparisons(failed=600),
            "fail",
            ["no business has", "600 of 600 answers failed", "has not answered"],
        ),
    ],
)
def test_a_challenger_passes_that_keeps_every_limit(made, outcome, reasons) -> None:
    found = verdict(made, Settings())
    assert found.outcome == outcome
    assert len(found.reasons) == len(reasons)
    for reason, words in zip(found.reasons, reasons, strict=True):
        assert words in reason


def test_agreement_fails_unless_its_interval_lies_above_the_limit() -> None:
    halves = [*comparisons(250, same=1.0, name="a"), *comparisons(250, same=0.4, name="b")]
    halves[-1:] = comparisons(1, same=1.0)
    agreement = verdict(halves, Settings()).agreement
    assert agreement is not None
    assert agreement.low < 0.70 < agreement.mean < agreement.high
    assert verdict(halves, Settings()).outcome == "fail"
    assert verdict(halves, Settings(shadow_agreement=agreement.low)).outcome == "pass"


def test_a_query_that_is_asked_again_and_again_makes_nothing_surer() -> None:
    few = [*comparisons(20, same=1.0, name="a"), *comparisons(20, same=0.5, name="b")]
    asked = [few * times for times in (1, 25)]
    once, often = (
        verdict([replace(one, question=str(n)) for n, one in enumerate(some)], Settings()).agreement
        for some in asked
    )
    assert once == often
    assert 0.1 < once.high - once.low < 0.3


def test_latency_is_that_of_what_both_answered() -> None:
    made = comparisons(failed=300, slower=2.0)
    made = [
        Comparison(**{**vars(one), "challenger_seconds": 60.0}) if one.error else one
        for one in made
    ]
    found = verdict(made, Settings())
    assert found.champion_latency.median == pytest.approx(0.012)
    assert found.challenger_latency.median == pytest.approx(0.024)
    assert found.challenger_latency.p99 == pytest.approx(0.028)


def test_scores_that_only_one_of_the_two_has_are_drift_and_none_at_all_are_not() -> None:
    def without(*sides: str) -> list[Comparison]:
        return [
            Comparison(**{**vars(one), "likeness": Likeness(**{**vars(one.likeness), **empty})})
            for one in comparisons()
            for empty in [{f"{side}_scores": () for side in sides}]
        ]

    assert verdict(without("champion", "challenger"), Settings()).outcome == "pass"
    assert verdict(without("challenger"), Settings()).reasons == ["only one of the two scores"] * 2


def test_a_distance_of_scores_that_may_be_chance_fails_nobody() -> None:
    few = comparisons(3, shifted=0.1)
    strict = Settings(shadow_least=2, shadow_ks=0.01, shadow_psi=0.01)
    found = verdict(few, strict)
    assert found.outcome == "pass"
    assert found.drift is not None
    assert min(found.drift.psi, found.drift.ks) > 0.01
    assert [one.name for one in found.checks if one.may_be_chance] == ["psi", "ks"]
    significant = verdict(comparisons(shifted=0.1), strict)
    assert len(significant.reasons) == 2
    assert not any(one.may_be_chance for one in significant.checks)
    assert not any(one.may_be_chance for one in verdict(comparisons(), Settings()).checks)


def test_an_answer_that_is_given_again_and_again_makes_no_drift_surer() -> None:
    """Three shops, of which hundreds of misspelt queries find the same category."""
    first, *others = comparisons(4)
    ours, theirs = (0.8164, 0.3169, 0.3278, 0.3303), (0.7782, 0.3121, 0.3243, 0.3347)
    same = replace(first.likeness, champion_scores=ours, challenger_scores=theirs)
    often = [replace(first, query=f"query {n}", likeness=same) for n in range(600)]
    found = verdict([*often, *others], Settings())
    assert found.outcome == "pass"
    assert found.comparisons == 603
    assert found.drift == verdict([often[0], *others], Settings()).drift
    assert [len(side) for side in scores([*often, *others])] == [34, 34]


def test_answers_that_differ_in_one_of_the_two_are_counted_each() -> None:
    """A challenger that has only one answer left is seen."""
    stuck = [
        replace(one, likeness=replace(one.likeness, challenger_scores=(0.9,) * 10))
        for one in comparisons()
    ]
    found = verdict(stuck, Settings())
    assert [len(side) for side in scores(stuck)] == [6000, 6000]
    assert len(found.reasons) == 2


class TestPopulationStability:
    def test_is_the_sum_over_bins_of_the_difference_times_the_logarithm_of_the_ratio(self) -> None:
        expected, actual = np.repeat([0.1, 0.9], 5000), np.repeat([0.1, 0.9], [8000, 2000])
        by_hand = 0.3 * math.log(0.8 / 0.5) + -0.3 * math.log(0.2 / 0.5)
        assert population_stability(expected, actual, 2) == pytest.approx(by_hand, abs=1e-3)

    def test_is_nothing_for_the_same_values_and_small_for_samples_of_one_distribution(self) -> None:
        assert population_stability(SCORES, SCORES) == 0
        assert population_stability(SCORES[:2000], SCORES[2000:]) < 0.02

    def test_grows_with_the_shift(self) -> None:
        found = [population_stability(SCORES, SCORES + shift) for shift in (0.02, 0.1, 0.3)]
        assert found[0] < 0.1 < found[1] < found[2]
        assert found[2] > 0.25

    def test_sees_what_lies_where_the_first_has_nothing(self) -> None:
        assert population_stability(np.full(100, 0.5), np.full(100, 0.2)) > 1
        assert population_stability(np.full(100, 0.5), np.full(100, 0.9)) > 1

    def test_is_as_often_significant_as_it_should_be_where_nothing_has_changed(self) -> None:
        random = np.random.default_rng(5)
        values = []
        for _ in range(1000):
            one, other = random.beta(2, 3, 200), random.beta(2, 3, 300)
            index = population_stability(one, other)
            values.append(population_stability_p(index, 200, 300))
        assert np.mean(np.array(values) < 0.05) == pytest.approx(0.05, abs=0.02)
        assert np.mean(np.array(values) < 0.5) == pytest.approx(0.5, abs=0.05)

    @pytest.mark.parametrize(("count", "is_seen"), [(12, False), (40, True), (400, True)])
    def test_is_significant_once_there_are_enough_values(self, count: int, is_seen: bool) -> None:
        one, other = SCORES[:count], SCORES[-count:] + 0.3
        index = population_stability(one, other)
        assert (population_stability_p(index, count, count) < 0.01) is is_seen


def test_bins_hold_as_much_of_the_first_each() -> None:
    found = binned(SCORES, SCORES / 2)
    assert len(found.edges) == 11
    assert (np.diff(found.edges) > 0).all()
    np.testing.assert_allclose(found.expected, 0.1, atol=0.005)
    assert found.actual.sum() == pytest.approx(1)
    assert found.actual[0] > 0.3


def test_the_kolmogorov_smirnov_statistic_is_the_largest_distance() -> None:
    statistic, p = kolmogorov_smirnov(np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6]))
    assert statistic == 0.5
    assert p > 0.3
    assert kolmogorov_smirnov(SCORES, SCORES) == (0, 1)
    statistic, p = kolmogorov_smirnov(SCORES[:500], SCORES[500:1000] + 0.02)
    assert p == pytest.approx(kolmogorov(statistic * math.sqrt(250)), abs=0.02)
    assert 0.001 < p < 0.9
