"""``justlens retrain shadow``."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.wiring import Services
from cli.main import app
from pipeline.text_spaces import TextSpaces, publish, put_in_force
from tasks.runtime import Runtime
from tests.unit.stores.test_events import click, event
from tests.unit.stores.test_queries import typed
from tests.unit.test_api_shadow import CHALLENGER, challenge, challenger_of
from tests.unit.test_text_spaces import swapped


@pytest.fixture
def shops(own_shops: Services, monkeypatch: pytest.MonkeyPatch) -> Services:
    """Shops with a challenger that is the champion under another name."""
    challenge(own_shops, challenger_of(own_shops, own_shops.text_encoder))
    monkeypatch.setattr("cli.retrain_shadow.Services", lambda _: own_shops)
    return own_shops


def run(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["retrain", "shadow", *arguments])
    assert result.exit_code == status, result.output + str(result.exception)
    return result.stdout


@pytest.fixture
def queries(tmp_path: Path) -> str:
    path = tmp_path / "queries.txt"
    path.write_text("cofee\nastronaut\nmotorcycle in a garage\n")
    return str(path)


def test_a_replay_asks_both_models_and_gives_its_verdict(shops: Services, queries: str) -> None:
    found = json.loads(run("--replay", queries, "--json"))
    assert (found["champion"], found["challenger"]) == (shops.text_encoder.identity, CHALLENGER)
    assert (found["outcome"], found["comparisons"]) == ("wait", 3)
    assert found["agreement"]["mean"] == found["overlap"]["mean"] == 1
    assert found["drift"]["psi"] >= 0
    assert found["failed"] == {}
    run("--replay", queries)
    assert json.loads(run("--json"))["comparisons"] == 3


def test_enough_of_them_decide(
    shops: Services, queries: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lax = {"shadow_least": 2, "shadow_latency": 1000.0}
    shops.settings = shops.settings.model_copy(update=lax)
    assert "verdict: pass" in run("--replay", queries, "--requests", "2")
    shops.settings = shops.settings.model_copy(update={"shadow_latency": 0.001})
    shown = run(status=1)
    assert "verdict: fail" in shown
    assert "not kept" in shown
    assert "times the champion's" in " ".join(shown.split())


def test_the_queries_of_the_last_days_are_those_typed_and_those_of_events(shops: Services) -> None:
    shops.stores.events.save(
        [event("1", query="cofee"), click("2", query="cofee"), event("3", query="spacecraft")]
    )
    shops.stores.queries.save([typed("t", "galaxies")])
    found = json.loads(run("--last-days", "1", "--json"))
    assert found["comparisons"] == 3


def test_what_was_compared_is_shown_after_the_challenger_has_gone(
    shops: Services, queries: str
) -> None:
    run("--replay", queries)
    challenge(shops, None)
    assert CHALLENGER in run()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "none was compared"),
        (["--last-days", "1"], "no challenger to ask"),
        (["--last-days", "1", "--replay", "x"], "not both"),
    ],
)
def test_what_cannot_be_done_is_said(shops: Services, arguments: list[str], words: str) -> None:
    challenge(shops, None)
    result = CliRunner().invoke(app, ["retrain", "shadow", *arguments])
    assert words in str(result.exception)


def test_without_queries_there_is_nothing_to_replay(shops: Services) -> None:
    result = CliRunner().invoke(app, ["retrain", "shadow", "--last-days", "1"])
    assert "no queries to replay" in str(result.exception)


def test_a_challenger_is_asked_in_a_space_of_its_own(
    own_shops: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, queries: str
) -> None:
    worker = Runtime(own_shops.settings)
    worker.stores = own_shops.stores
    folder = swapped(tmp_path / "swapped", own_shops.settings.model_dir, "coffee", "pet")
    name = publish(own_shops.stores.objects, folder, 2)
    worker.rescoring(name).fill()
    put_in_force(own_shops.stores.documents, TextSpaces(challenger=name))
    monkeypatch.setattr("cli.retrain_shadow.Services", lambda _: own_shops)
    (tmp_path / "queries.txt").write_text("coffee shops\ngalaxies\n")
    found = json.loads(run("--replay", queries, "--json"))
    assert (found["champion"], found["challenger"]) == (own_shops.text_encoder.identity, name)
    assert found["failed"] == {}
    coffee, galaxies = (
        one.likeness
        for one in sorted(
            own_shops.stores.shadow.comparisons(found["champion"], name), key=lambda one: one.query
        )
    )
    # To it a cat is what coffee is to others; of galaxies, the museum's, it knows nothing else.
    assert coffee.same_top < coffee.businesses == 3
    assert galaxies.champion_scores[-1] == galaxies.challenger_scores[-1] > 0.9
