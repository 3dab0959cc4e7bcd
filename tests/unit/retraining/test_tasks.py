"""The tasks that beat sends for the text model's data."""

import time
from types import SimpleNamespace

import pytest

from pipeline.queues import RETRAINING
from pipeline.retraining.roll import HOUR, kept_hours
from pipeline.settings import Settings
from pipeline.stores import open_stores
from tasks import app
from tests.unit.stores.test_queries import typed


@pytest.fixture
def here(tmp_path, monkeypatch):
    chosen = Settings(data_dir=tmp_path)
    champion = SimpleNamespace(identity="champion@1", pieces=lambda term: -(-len(term) // 5))
    found = SimpleNamespace(settings=chosen, stores=open_stores(chosen), champion=lambda: champion)
    monkeypatch.setattr("tasks.retraining.runtime", lambda: found)
    yield found
    found.stores.close()


def asked(here, monkeypatch) -> None:
    """Queries of some hours ago."""
    before = time.time() - 3 * HOUR
    with monkeypatch.context() as then:
        then.setattr("pipeline.stores.queries.time.time", lambda: before)
        queries = ["cofee", "yoga class", "plumber", "mehndi artist", "dentist"]
        here.stores.queries.save([typed(f"{n}", query) for n, query in enumerate(queries)])


def test_hours_are_written_and_data_prepared_from_them_once_a_day(here, monkeypatch):
    asked(here, monkeypatch)
    logged = []
    monkeypatch.setattr("pipeline.retraining.data_card.log_card", lambda *one: logged.append(one))
    assert app.tasks["retraining_capture"].run()["rows"] == 5
    assert len(list(kept_hours(here.stores))) == 1
    done = app.tasks["retraining_prepare"].run(run="tonight")
    assert sum(done["rows"].values()) == 5
    assert (here.settings.data_dir / "retraining" / "tonight" / "data" / "train.jsonl").is_file()
    assert app.tasks["retraining_prepare"].run(run="tonight") == done
    assert logged[0][0]["encoder"] == "champion@1"


def test_without_queries_a_night_says_so_and_is_no_failure(here):
    done = app.tasks["retraining_prepare"].run()
    assert done["run"] == ""
    assert "no queries yet" in done["detail"]


@pytest.mark.parametrize("name", ["retraining_capture", "retraining_begin", "retraining_go_on"])
def test_beat_sends_them_to_the_queue_of_retraining(name):
    (entry,) = [one for one in app.conf.beat_schedule.values() if one["task"] == name]
    assert entry["options"]["queue"] == RETRAINING
