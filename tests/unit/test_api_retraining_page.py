"""The page of retraining as the server renders it."""

import re

import pytest
from fastapi.testclient import TestClient

from api.retraining_page import compare, shadowed, state
from api.wiring import Services
from pipeline.errors import StoreUnavailable
from pipeline.retraining.history import Metric, remember
from pipeline.settings import Settings
from pipeline.stores.shadow import Compared
from pipeline.text_spaces import TextSpaces, put_in_force
from tests.unit.retraining.test_history import trial
from tests.unit.retraining.test_verdict import comparisons

PAIR = Compared("minilm@1", "champion@2", 600, 100.0, 200.0)


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_at_first_it_says_what_there_will_be(writer: TestClient) -> None:
    answer = writer.get("/retraining")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    shown = text_of(answer.text)
    assert "No model has been retrained yet." in shown
    assert "No challenger has been asked yet." in shown
    assert "5.0 % of the questions" in shown


def test_it_shows_figures_shadow_and_decisions(writer: TestClient, own_shops: Services) -> None:
    slower = {"champion": 190, "challenger": 230.5, "unit": "ms", "is_better": "lower"}
    guard = Metric(name="Encode 128", role="guard", **slower, limit=220, passed=False)
    first = trial("text1", 50.0, promoted=False, reasons=["Encode 128 takes 230.5 ms"])
    worse = first.model_copy(update={"metrics": [guard, *first.metrics]})
    remember(own_shops.stores.documents, trial("text0.<b>", 10.0))
    remember(own_shops.stores.documents, worse)
    own_shops.stores.shadow.save(comparisons(failed=9, shifted=0.3, slower=2.0))
    html = writer.get("/retraining").text
    shown = text_of(html)
    for words in (
        "It did not become the challenger",
        "Encode 128 takes 230.5 ms",
        "+4.1 % +2.1 % to +6.3 %",
        "≤ 220.0 ms",
        "It may not serve",
        "600 comparisons",
        "ModelUnavailable 9\u00d7",
        "2.00\u00d7",
        "at most 1.5\u00d7",
        "it is no challenger any more",
        "Rank-biased overlap 0.900",
    ):
        assert words in shown, words
    drawings = re.findall(r"<svg[^>]*>", html[html.find("<main") :])
    assert len(drawings) == 6
    assert all('role="img" aria-label="' in drawing for drawing in drawings)
    assert "style=" not in html
    assert "<script" not in html
    assert "text0.<b>" not in html


@pytest.mark.parametrize(
    ("spaces", "promoted", "word"),
    [
        (TextSpaces(serving="text1.ab"), True, "serves"),
        (TextSpaces(serving="text11.ab", challenger="text1.ab"), True, "challenger"),
        (TextSpaces(serving="text2.ab", previous="text1.ab"), True, "served before"),
        (TextSpaces(serving="text11.ab", previous=""), True, "given up"),
        (TextSpaces(), False, "not promoted"),
    ],
)
def test_what_a_model_is_by_now_is_told_by_the_spaces_in_force(spaces, promoted, word) -> None:
    assert state(trial("text1", promoted=promoted), spaces).word == word


def test_the_models_in_force_are_named(writer: TestClient, own_shops: Services) -> None:
    own = own_shops.text_encoder.identity
    assert f"Champion {own} Challenger none" in text_of(writer.get("/retraining").text)
    put_in_force(own_shops.stores.documents, TextSpaces(challenger="text1.ab"))
    assert "Challenger text1.ab Served before none" in text_of(writer.get("/retraining").text)


def test_the_primary_figure_comes_first() -> None:
    one = trial("text1")
    guard = Metric(name="guard", role="guard", champion=None, challenger=0.8, passed=True)
    rows = compare(one.model_copy(update={"metrics": [guard, *one.metrics]}))
    assert [row.metric.role for row in rows] == ["primary", "guard"]
    assert rows[1].gain is None
    assert rows[0].gain.zero <= rows[0].gain.limit <= rows[0].gain.low <= rows[0].gain.middle


def test_before_there_are_enough_the_way_to_a_verdict_is_shown(
    writer: TestClient, own_shops: Services
) -> None:
    own_shops.stores.shadow.save(comparisons(40))
    html = writer.get("/retraining").text
    assert "Not enough yet" in html
    assert '<progress max="500" value="40"' in html


def test_a_challenger_that_only_failed_has_no_plots_and_breaks_nothing(
    writer: TestClient, own_shops: Services
) -> None:
    failed = comparisons(20, failed=20)
    own_shops.stores.shadow.save(failed)
    assert writer.get("/retraining").status_code == 200
    found = shadowed(PAIR, failed, Settings(), is_over=False)
    assert (found.bars, found.curves, found.agreement, list(found.latencies)) == (None,) * 3 + ([],)


def test_latencies_are_drawn_on_one_scale() -> None:
    found = shadowed(PAIR, comparisons(slower=2.0), Settings(), is_over=False)
    ours, theirs = found.latencies
    assert (ours.name, theirs.name, theirs.p99) == ("Champion", "Challenger", 100)
    assert ours.median == pytest.approx(theirs.median / 2, abs=0.1)


def test_the_latest_challenger_is_shown(writer: TestClient, own_shops: Services) -> None:
    own_shops.stores.shadow.save(comparisons(3, recorded_at=100.0))
    newer = [
        one.__class__(**{**vars(one), "challenger": "champion@3", "recorded_at": 200.0})
        for one in comparisons(2)
    ]
    own_shops.stores.shadow.save(newer)
    shown = text_of(writer.get("/retraining").text)
    assert "champion@3 beside minilm@1" in shown
    assert "2 comparisons of 500" in shown


def test_a_store_that_is_away_is_said(
    writer: TestClient, own_shops: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise StoreUnavailable("the events are away")

    monkeypatch.setattr(own_shops.stores.shadow, "pairs", away)
    answer = writer.get("/retraining")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "the events are away" in answer.text
