"""What was decided about retrained models, as pages read it."""

import pytest

from pipeline.retraining import history
from pipeline.retraining.history import Decision, Metric, decisions, remember
from tests.unit.stores.conftest import documents, open_documents

__all__ = ["documents", "open_documents"]


def decision(challenger: str, at: float = 100.0, **fields) -> Decision:
    return Decision(
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


def test_decisions_are_read_back_newest_first(documents) -> None:
    assert decisions(documents) == []
    for number in (2, 1, 3):
        remember(documents, decision(f"text{number}", float(number)))
    assert [one.challenger for one in decisions(documents)] == ["text3", "text2", "text1"]
    assert decisions(documents)[0] == decision("text3", 3.0)


def test_a_decision_that_is_made_again_takes_the_place_of_the_first(documents) -> None:
    remember(documents, decision("text1"))
    remember(documents, decision("text1", promoted=False))
    assert [one.promoted for one in decisions(documents)] == [False]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_KEPT", 2)


def test_the_oldest_go_when_there_are_many(documents, few) -> None:
    for number in (1, 2, 3):
        remember(documents, decision(f"text{number}", float(number)))
    assert [one.challenger for one in decisions(documents)] == ["text3", "text2"]
