"""Three nights of retraining, one after the other: from what was searched for to what serves."""

import json
import time
from pathlib import Path

import pytest

from api.wiring import Services
from models.export import sentence_encoder
from pipeline.retraining.nights import Night
from pipeline.retraining.registry import Candidate, open_registry
from pipeline.retraining.roll import HOUR, roll
from pipeline.settings import Settings, settings
from pipeline.text_spaces import TextSpaces, text_spaces
from tasks.nights import nights
from tasks.runtime import Runtime
from tests import tiny_bert
from tests.shops import open_shops
from tests.unit.stores.test_queries import typed

WORDS = {
    "mehndi": "henna",
    "tiffin": "lunch",
    "godown": "depot",
    "cooler": "fan",
    "kirana": "grocery",
    "dhaba": "diner",
    "saree": "dress",
    "chappal": "sandal",
}
PLACES = ("bread", "cake", "wedding", "flower", "hair")
# Of models this small the figures jump.
ENVIRONMENT = {
    "THREADS": "1",
    "PROMOTE_GAIN": "0",
    "PROMOTE_LATENCY_FACTOR": "100",
    "SHADOW_PATIENCE": "0",
    "SHADOW_LEAST": "4",
    "SHADOW_AGREEMENT": "0",
    "SHADOW_PSI": "1000",
    "SHADOW_KS": "1",
    "SHADOW_LATENCY": "1000",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    """Shops whose registry has a tiny model for a champion, so that a training takes seconds."""
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"passes": 4, "batch": 16, "learning_rate": 3e-3, "patience": 9}))
    for name, value in {
        **ENVIRONMENT,
        "DATA_DIR": str(tmp_path / "var"),
        "RETRAIN_RECIPE": str(recipe),
    }.items():
        monkeypatch.setenv(f"JUSTLENS_{name}", value)
    settings.cache_clear()
    services = open_shops(tmp_path / "var")
    source = tiny_bert.save(tmp_path / "source")
    sentence_encoder(source, tmp_path / "onnx")
    open_registry(services.settings).begin(Candidate("tiny", source, tmp_path / "onnx"))
    yield services
    services.close()
    settings.cache_clear()


def search(services: Services, monkeypatch: pytest.MonkeyPatch, day: int, ends: str) -> None:
    """What visitors typed in an hour that is over, three hours behind that of the day before."""
    at = time.time() - (20 - 3 * day) * HOUR
    with monkeypatch.context() as then:
        then.setattr("pipeline.stores.queries.time.time", lambda: at)
        services.stores.queries.save(
            [
                typed(
                    f"{day}-{word}-{place}",
                    f"{word} near the {place} {ends}",
                    category=f"{meaning} at {place}",
                    visitor=f"{place}-{day}",
                )
                for word, meaning in WORDS.items()
                for place in PLACES
            ]
        )
    assert roll(services.stores, days=0, now=at + 2 * HOUR).hours == 1


def a_night(
    services: Services, monkeypatch: pytest.MonkeyPatch, day: int, ends: str, **chosen: str
) -> Night:
    """A whole one, by a worker that was started for it."""
    if ends:
        search(services, monkeypatch, day, ends)
    with monkeypatch.context() as tonight:
        for name, value in chosen.items():
            tonight.setenv(f"JUSTLENS_{name}", value)
        here = Runtime(Settings(data_dir=services.settings.data_dir))
        try:
            nights(here).begin()
            night = nights(here).go_on()
        finally:
            here.close()
    assert night is not None
    return night


def test_make_a_model_serve_drop_one_that_fails_and_refuse_one_that_is_no_better(
    site: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, registry = site.stores.documents, open_registry(site.settings)
    first = a_night(site, monkeypatch, 1, "shop")
    assert first.outcome == "version 2 serves", first
    spaces = text_spaces(documents)
    assert spaces.version == 2
    assert registry.champion().number == 2
    site.servings.look()
    assert site.serving.page(["cafe"], query="coffee").businesses[0].dynamic

    second = a_night(site, monkeypatch, 2, "hair", SHADOW_LATENCY="0.000001")
    assert second.outcome.startswith("version 3 fails in the shadow"), second
    assert text_spaces(documents) == TextSpaces(serving=spaces.serving, previous="")

    nothing_new = a_night(site, monkeypatch, 3, "")
    assert nothing_new.outcome.startswith("nothing new: version 3"), nothing_new

    third = a_night(site, monkeypatch, 4, "fresh", PROMOTE_GAIN="100")
    assert third.outcome.startswith("version 4 is refused"), third
    assert text_spaces(documents) == TextSpaces(serving=spaces.serving, previous="")
    assert [version.aliases for version in registry.versions()] == [
        *((), (), ("champion",), ("previous",)),
    ]
