"""The task that forgets old events."""

import time
from types import SimpleNamespace

import pytest

from pipeline.settings import Settings
from pipeline.stores import open_stores
from tasks import app
from tests.unit.stores.test_events import event
from tests.unit.stores.test_shadow import comparison


@pytest.mark.parametrize(("days", "left"), [(30, 1), (0, 2)])
def test_events_and_comparisons_are_forgotten_after_their_days(monkeypatch, tmp_path, days, left):
    stores = open_stores(Settings(data_dir=tmp_path))
    long_ago = time.time() - 31 * 24 * 3600
    with monkeypatch.context() as then:
        then.setattr("pipeline.stores.events.time.time", lambda: long_ago)
        stores.events.save([event("old")])
    stores.events.save([event("new")])
    stores.shadow.save([comparison(recorded_at=long_ago), comparison(recorded_at=time.time())])
    here = SimpleNamespace(settings=Settings(events_days=days), stores=stores)
    monkeypatch.setattr("tasks.jobs.runtime", lambda: here)
    assert app.tasks["forget_events"].run() == {"forgotten": 2 * (2 - left)}
    assert sum(one.impressions for one in stores.events.shown(0)) == left
    assert sum(pair.count for pair in stores.shadow.pairs()) == left
    stores.close()


def test_beat_sends_it_to_a_queue_that_workers_read():
    (entry,) = [one for one in app.conf.beat_schedule.values() if one["task"] == "forget_events"]
    assert entry["options"]["queue"] in {queue.name for queue in app.conf.task_queues}
