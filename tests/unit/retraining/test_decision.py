import math

import numpy as np
import pytest

from pipeline.retraining.decision import Measured, Rule, decide, gain_interval

CHAMPION = Measured(
    reciprocal_ranks=[0.5] * 100,
    guards={"sts_spearman": 0.86, "sts_squared_error": 0.03, "paraphrase_f1": 0.8},
    latency_ms=200.0,
)
RULE = Rule(
    gain=0.02,
    latency_limit_ms=250.0,
    tolerances={"sts_spearman": 0.005, "sts_squared_error": 0.01},
)


def challenger(
    mrr: float = 0.6,
    latency_ms: float = 210.0,
    sts_spearman: float = 0.86,
    sts_squared_error: float = 0.03,
    paraphrase_f1: float = 0.8,
    defect: str = "",
) -> Measured:
    guards = {
        "sts_spearman": sts_spearman,
        "sts_squared_error": sts_squared_error,
        "paraphrase_f1": paraphrase_f1,
    }
    return Measured([mrr] * 100, guards, latency_ms, defect)


@pytest.mark.parametrize(
    ("measured", "best", "promoted", "first_reason"),
    [
        (challenger(), None, True, "MRR@10 0.6000 against 0.5000: +20.00%"),
        (challenger(mrr=0.51), None, True, "MRR@10 0.5100 against 0.5000: +2.00%"),
        (challenger(mrr=0.5099), None, False, "MRR@10 0.5099 against 0.5000: +1.98%"),
        (challenger(mrr=0.4), None, False, "MRR@10 0.4000 against 0.5000: -20.00%"),
        (challenger(mrr=0.52), 0.515, False, "MRR@10 0.5200 against 0.5150: +0.97%"),
        (challenger(mrr=0.53), 0.515, True, "MRR@10 0.5300 against 0.5150: +2.91%"),
        (challenger(mrr=0.52), 0.3, True, "MRR@10 0.5200 against 0.5000: +4.00%"),
        (challenger(latency_ms=250.0), None, True, "MRR@10"),
        (challenger(latency_ms=251.0), None, False, "128 sentences in 251 ms; it must be at most"),
        (challenger(sts_spearman=0.856), None, True, "MRR@10"),
        (challenger(sts_spearman=0.85), None, False, "sts_spearman 0.8500 against 0.8600; it may"),
        (challenger(sts_squared_error=0.039), None, True, "MRR@10"),
        (challenger(sts_squared_error=0.05), None, False, "sts_squared_error 0.0500 against 0.03"),
        (challenger(sts_squared_error=0.0), None, True, "MRR@10"),
        (challenger(paraphrase_f1=0.799), None, False, "paraphrase_f1 0.7990 against 0.8000; it"),
        (challenger(mrr=math.nan), None, False, "MRR@10 nan"),
        (challenger(latency_ms=math.nan), None, False, "128 sentences in nan ms"),
        (challenger(sts_spearman=math.nan), None, False, "sts_spearman nan"),
        (challenger(defect="its weights are not numbers"), None, False, "its weights are not"),
        (Measured(), None, False, "no query has enough terms"),
        (Measured([0.6] * 100, {}, 210.0), None, False, "paraphrase_f1 nan"),
    ],
)
def test_the_rule_of_promotion(
    measured: Measured, best: float | None, promoted: bool, first_reason: str
) -> None:
    decision = decide(CHAMPION, measured, RULE, best)
    assert decision.promoted is promoted
    assert decision.reasons[0].startswith(first_reason)


def test_every_condition_has_its_reason_and_those_not_met_come_first() -> None:
    decision = decide(CHAMPION, challenger(mrr=0.1, paraphrase_f1=0.1), RULE)
    assert [reason.split()[0] for reason in decision.reasons] == [
        "MRR@10",
        "paraphrase_f1",
        "128",
        "sts_spearman",
        "sts_squared_error",
    ]


def test_a_champion_that_could_not_be_measured_is_not_replaced() -> None:
    decision = decide(Measured(defect="it is gone"), challenger(), RULE)
    assert (decision.promoted, decision.reasons) == (False, ("the champion: it is gone",))


def test_a_champion_that_finds_nothing_is_beaten_by_one_that_finds_something() -> None:
    champion = Measured([0.0] * 100, CHAMPION.guards, 200.0)
    decision = decide(champion, challenger(), RULE)
    assert decision.promoted
    assert decision.gain is None
    assert not decide(champion, challenger(mrr=0.0), RULE).promoted


def test_the_interval_holds_the_gain_and_is_the_same_each_time() -> None:
    random = np.random.default_rng(0)
    before = random.choice([1.0, 0.5, 0.25, 0.0], size=200)
    after = np.maximum(before, random.choice([1.0, 0.0], size=200, p=[0.2, 0.8]))
    found = gain_interval(before, after)
    assert found is not None
    assert found[0] < after.mean() / before.mean() - 1 < found[1]
    assert found == gain_interval(before, after)


def test_queries_answered_alike_by_both_make_no_doubt() -> None:
    """The bootstrap is paired: what differs between queries and not between models is no noise."""
    before = [1.0, 0.5, 0.1, 0.2] * 25
    found = gain_interval(before, [rank * 1.1 for rank in before])
    assert found == pytest.approx((0.1, 0.1))
