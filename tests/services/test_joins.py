"""The join of chords on a real Valkey server."""

import base64
import json
from typing import Any

import pytest
from celery import Celery, chord
from celery.app.task import Context

from pipeline.graph import graph
from pipeline.messages import ImageMessage
from pipeline.queues import Lane, Stage
from tests.services.conftest import Site

pytestmark = pytest.mark.services

MEMBERS = (Stage.TAG.value, Stage.DESCRIBE.value)
RESULT = {"outcome": "done"}


@pytest.fixture
def app(site: Site) -> Celery:
    return site.app


def sent(site: Site, *queues: str) -> list[Context]:
    """What the tasks in the queues would find as their requests, by age."""
    with site.app.connection_for_read() as connection:
        client: Any = connection.default_channel.client
        items = [item for queue in queues for item in reversed(client.lrange(queue, 0, -1))]
    found = []
    for message in map(json.loads, items):
        args, kwargs, embed = json.loads(base64.b64decode(message["body"]))
        found.append(Context(message["headers"], args=args, kwargs=kwargs, **embed))
    return found


def bodies(site: Site) -> list[Context]:
    return sent(site, Stage.SCORE.value)


def kept(app: Celery) -> list[bytes]:
    return list(app.backend.client.scan_iter(match="celery-taskset-meta-*"))


def begin(app: Celery, site: Site) -> tuple[Context, Context]:
    message = ImageMessage(docid="shop-1", product_id=1, generation=1)
    graph(app, message, Stage.TAG, Lane.INTERACTIVE).apply_async()
    tag, describe = sent(site, *MEMBERS)
    return tag, describe


def end(app: Celery, request: Context) -> None:
    app.backend.mark_as_done(request.id, RESULT, request, False)


def test_the_last_member_sends_the_body_and_leaves_nothing(site: Site, app: Celery) -> None:
    tag, describe = begin(app, site)
    end(app, tag)
    assert bodies(site) == []
    assert all(app.backend.client.ttl(key) > 0 for key in kept(app))
    end(app, describe)
    (score,) = bodies(site)
    assert score.args == tag.args
    assert [step["task"] for step in score.chain] == [Stage.ALT_TEXT.value]
    assert kept(app) == []


def test_a_member_counts_once_however_often_it_runs(site: Site, app: Celery) -> None:
    tag, describe = begin(app, site)
    end(app, tag)
    end(app, tag)
    assert bodies(site) == []
    end(app, describe)
    end(app, describe)
    end(app, tag)
    assert len(bodies(site)) == 1


def test_a_member_that_died_before_the_body_was_sent_sends_it_when_it_comes_back(
    site: Site, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    tag, describe = begin(app, site)
    end(app, tag)
    with monkeypatch.context() as patch:
        patch.setattr(app.amqp, "_retry_publish", die)
        with pytest.raises(KeyboardInterrupt):
            end(app, describe)
    assert bodies(site) == []
    end(app, describe)
    assert len(bodies(site)) == 1


def test_a_member_that_fails_ends_the_chord(site: Site, app: Celery) -> None:
    tag, describe = begin(app, site)
    app.backend.mark_as_failure(tag.id, ValueError("no"), request=tag, store_result=False)
    end(app, describe)
    assert bodies(site) == []


def test_a_body_that_takes_results_is_given_them(site: Site, app: Celery) -> None:
    def task(stage: Stage) -> Any:
        return app.signature(stage.value, queue=stage.value)

    chord([task(Stage.TAG), task(Stage.DESCRIBE)], task(Stage.SCORE)).apply_async()
    for request in sent(site, *MEMBERS):
        end(app, request)
    (score,) = bodies(site)
    assert score.args == [[RESULT, RESULT]]
