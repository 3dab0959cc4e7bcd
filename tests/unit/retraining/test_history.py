"""How retrained models did, as pages read it."""

import pytest

from pipeline.retraining import history
from pipeline.retraining.decision import Measured, Rule, decide
from pipeline.retraining.history import Metric, Trial, remember, trial_of, trials
from tests.unit.stores.conftest import documents, open_documents

__all__ = ["documents", "open_documents"]


def trial(challenger: str, at: float = 100.0, **fields) -> Trial:
    return Trial(
        **{
            "decided_at": at,
            "champion": "minilm@1",
            "challenger": challenger,
            "promoted": True,
            "reasons": ["MRR@10 gains 4.1 %"],
            "metrics": [
                Metric(
                    name="MRR@10, rare words",
                    role="primary",
                    champion=0.72,
                    challenger=0.75,
                    passed=True,
                    low=0.021,
                    gain=0.041,
                    high=0.063,
                    least_gain=0.02,
                )
            ],
            **fields,
        }
    )


def test_trials_are_read_back_newest_first(documents) -> None:
    assert trials(documents) == []
    for number in (2, 1, 3):
        remember(documents, trial(f"text{number}", float(number)))
    assert [one.challenger for one in trials(documents)] == ["text3", "text2", "text1"]
    assert trials(documents)[0] == trial("text3", 3.0)


def test_a_trial_that_is_told_again_stays_as_it_was(documents) -> None:
    remember(documents, trial("text1"))
    remember(documents, trial("text1", promoted=False))
    assert [one.promoted for one in trials(documents)] == [True]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_KEPT", 2)


def test_the_oldest_go_when_there_are_many(documents, few) -> None:
    for number in (1, 2, 3):
        remember(documents, trial(f"text{number}", float(number)))
    assert [one.challenger for one in trials(documents)] == ["text3", "text2"]


class TestWhatIsRememberedOfADecision:
    RULE = Rule(gain=0.02, latency_limit_ms=220, tolerances={"sts": 0.01})
    BEFORE = Measured([0.5] * 50, {"sts": 0.82, "sts_squared_error": 0.03}, 190.0)

    def of(self, after: Measured, before: Measured = BEFORE) -> Trial:
        made = decide(before, after, self.RULE)
        return trial_of(made, self.RULE, ("minilm@1", before), ("text7", after))

    def test_is_each_condition_with_its_limit_and_whether_it_was_met(self) -> None:
        after = Measured([0.6] * 50, {"sts": 0.815, "sts_squared_error": 0.031}, 230.0)
        found = self.of(after)
        assert (found.champion, found.challenger, found.promoted) == ("minilm@1", "text7", False)
        assert [(one.name, one.limit, one.passed) for one in found.metrics] == [
            ("MRR@10, words out of vocabulary", None, True),
            ("Encoding 128 sentences", 220, False),
            ("sts", pytest.approx(0.81), True),
            ("sts_squared_error", 0.03, False),
        ]
        primary = found.metrics[0]
        assert (primary.champion, primary.challenger) == pytest.approx((0.5, 0.6))
        assert (primary.low, primary.gain, primary.high) == pytest.approx((0.2, 0.2, 0.2))
        assert "230 ms" in found.reasons[0]

    def test_survives_figures_that_are_no_numbers(self, documents) -> None:
        before = Measured([0.0] * 50, {"sts": 0.82}, 190.0)
        found = self.of(Measured([0.6] * 50, {}, float("nan")), before)
        remember(documents, found)
        (kept,) = trials(documents)
        assert [one.challenger for one in kept.metrics] == [pytest.approx(0.6), None, None]
        assert kept.metrics[0].gain is None

    def test_is_the_reason_alone_where_nothing_could_be_measured(self) -> None:
        found = self.of(Measured(defect="the export differs"))
        assert (found.reasons, found.metrics) == (["the export differs"], [])
