"""However a task ends badly, it is parked: one message, one record, what an operator needs."""

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task
from celery.app.control import Inspect
from celery.exceptions import Ignore, Reject, Retry, TimeLimitExceeded

import tasks
from pipeline.dead_letters import Parking
from pipeline.errors import (
    BrokerUnavailable,
    ConfigurationError,
    FetchFailed,
    InvalidMessage,
    StoreUnavailable,
    UndecodableImage,
)
from pipeline.failures import LONGEST_DELAY
from pipeline.ingest import Intake
from pipeline.queues import JOBS, Lane, Stage
from pipeline.records import CatalogueImage, DeadLetter, ImageState
from pipeline.settings import Settings
from tasks.foreign import Foreign
from tasks.jobs import Job
from tasks.parking import ParkingTask
from tasks.rabbitmq import images_at_work
from tasks.runtime import Runtime
from tasks.stage import Run, StageTask

TAG = Stage.TAG.value
EXPECTED = (KeyError, TypeError, ConfigurationError)
BODY = {"docid": "shop", "product_id": 7, "generation": 1, "correlation_id": "c1"}


class Fails(StageTask):
    """A stage that raises what it is told to."""

    name = TAG
    stage = Stage.TAG
    stops_on = (UndecodableImage,)
    error: Exception

    def inputs(self, run: Run) -> tuple[Any, ...]:
        return ()

    def work(self, run: Run) -> str:
        raise self.error


class Ends(Fails):
    """A stage whose store may go away once its end is recorded."""

    error: Exception | None = StoreUnavailable("away")

    def work(self, run: Run) -> str:
        return "as it should"

    def _record(self, run: Run, *ending: Any) -> bool:
        stands = super()._record(run, *ending)
        if self.error:
            raise self.error
        return stands


class Wrong(Job):
    """A job that raises what it is told to."""

    name = "wrong"
    error: Exception

    def work(self) -> dict[str, Any]:
        raise self.error


class Place:
    """Embedded stores with one image, and what is published to the error queues."""

    def __init__(self, folder: Path, app: Celery) -> None:
        settings = Settings(data_dir=folder, max_retries=3)
        self.here = Runtime(settings)
        self.app = app
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.here.stores.documents.accept_image(
            CatalogueImage(docid="shop", product_id=7, sha256="7")
        )

    def publisher(self, _: Celery) -> Callable[[str, dict[str, Any]], None]:
        """What takes the place of the broker's."""
        return lambda queue, body: self.published.append((queue, body))

    @contextmanager
    def running(self, kind: type[Task], *args: Any, **request: Any) -> Iterator[Any]:
        """A task of that kind in the middle of a run."""
        task = self.app.register_task(kind())
        queue = request.pop("queue", TAG)
        own = {"task": task.name, "id": "t1", "root_id": "r1", "retries": 0, **request}
        delivery = {"routing_key": queue, "redelivered": request.get("redelivered", False)}
        task.push_request(
            args=args, kwargs={}, called_directly=False, delivery_info=delivery, **own
        )
        yield task
        task.pop_request()

    def letter(self) -> DeadLetter:
        """The one record, of which there is one message."""
        (letter,) = self.here.stores.documents.dead_letters()
        ((queue, body),) = self.published
        assert (queue, body["key"]) == (f"error.{letter.queue}", letter.key)
        return letter

    def state(self) -> ImageState:
        """Of the image."""
        image = self.here.stores.documents.image("shop", 7)
        assert image is not None
        return image.state


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    app = Celery("parking", broker="memory://", set_as_current=False)
    place = Place(tmp_path, app)
    for module in ("stage", "parking", "foreign"):
        monkeypatch.setattr(f"tasks.{module}.runtime", lambda: place.here)
    monkeypatch.setattr("tasks.parking.Publisher", place.publisher)
    yield place
    place.here.stores.close()
    app.close()


@pytest.mark.parametrize(
    ("error", "cause", "tries", "ends"),
    [
        (ValueError("no picture"), "ValueError", 1, False),
        (UndecodableImage("not an image"), "UndecodableImage", 1, True),
        (FetchFailed("503"), "FetchFailed", 4, False),
    ],
)
def test_a_stage_that_fails_for_good_is_parked_with_what_it_was_at(
    place: Place, error: Exception, cause: str, tries: int, ends: bool
) -> None:
    Fails.error = error
    with place.running(Fails, BODY, retries=tries - 1) as task:
        if ends:
            with pytest.raises(type(error)):
                task.run(BODY)
        else:
            assert task.run(BODY)["outcome"] == "failed"
    letter = place.letter()
    assert (letter.exception, letter.message, letter.tries) == (cause, str(error), tries)
    assert (letter.queue, letter.task, letter.task_id, letter.root_id) == (TAG, TAG, "t1", "r1")
    assert (letter.docid, letter.product_id, letter.generation) == ("shop", 7, 1)
    assert (letter.args, letter.kwargs, letter.correlation_id) == ([BODY], {}, "c1")
    assert cause in letter.traceback and letter.host
    assert (place.state() is ImageState.FAILED) == ends


@pytest.mark.parametrize(
    ("error", "retries"),
    [(FetchFailed("503"), 2), (StoreUnavailable("away"), 19), (MemoryError(), 0)],
)
def test_a_retry_is_sent_with_a_delay_and_counts_as_progress_until_it_is_due(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: Exception, retries: int
) -> None:
    asked: list[dict[str, Any]] = []
    Fails.error = error
    with place.running(Fails, BODY, retries=retries, queue=f"{TAG}.bulk") as task:
        again = Retry("again")
        monkeypatch.setattr(task, "retry", lambda **options: asked.append(options) or again)
        with pytest.raises(Retry):
            task.run(BODY)
    (options,) = asked
    assert options["queue"] == f"{TAG}.bulk"
    assert 1 <= options["countdown"] <= LONGEST_DELAY
    assert place.published == []
    image = place.here.stores.documents.image("shop", 7)
    assert image is not None
    assert image.moved_at == pytest.approx(time.time() + options["countdown"], abs=3)


@pytest.mark.parametrize(
    ("noted", "cause"),
    [("", "PoisonMessage"), ("ran past its deadline of 300 s", "DeadlinePassed")],
)
def test_a_message_that_ends_its_process_again_and_again_is_parked_unrun(
    place: Place, noted: str, cause: str
) -> None:
    Fails.error = AssertionError("it is not run")
    documents = place.here.stores.documents
    for _ in range(place.here.settings.max_deliveries):
        documents.count_delivery("t1")
    if noted:
        documents.note_delivery("t1", noted)
    with place.running(Fails, BODY, redelivered=True) as task:
        task.run(BODY)
    assert place.letter().exception == cause
    assert noted in place.letter().message


def test_a_retry_goes_on_where_a_store_went_away_after_the_record_and_a_copy_does_not(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.running(Ends, BODY) as task:
        with pytest.raises(Retry):
            task.run(BODY)
        with pytest.raises(Ignore):
            task.run(BODY)
        monkeypatch.setattr(Ends, "error", None)
        task.request.retries = 1
        assert task.run(BODY)["outcome"] == "done"
    assert place.published == []


def test_what_a_workers_own_time_limit_has_killed_is_parked_and_ends_its_image(
    place: Place,
) -> None:
    task = place.app.register_task(Fails())
    task.on_failure(TimeLimitExceeded(3), "t1", [BODY], {}, None)
    letter = place.letter()
    assert (letter.key, letter.exception) == (f"{TAG}/t1", "DeadlinePassed")
    assert place.state() is ImageState.FAILED


def test_while_the_records_store_is_away_the_message_is_published_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, failures = place.here.stores.documents, [1, 2]
    for method in ("park", "update_image"):
        call = getattr(documents, method)

        def flaky(*args: Any, call: Any = call, **named: Any) -> Any:
            if len(failures) > (call.__name__ == "park"):
                failures.pop()
                raise StoreUnavailable("away")
            return call(*args, **named)

        monkeypatch.setattr(documents, method, flaky)
    failed = TimeLimitExceeded(3)
    place.app.register_task(Fails()).on_failure(failed, "t1", [BODY], {}, None)
    assert (place.letter().tries, failures) == (1, [])
    assert place.state() is ImageState.FAILED


@pytest.mark.parametrize(
    ("args", "error", "cause"),
    [
        ((), KeyError("a bug"), "KeyError"),
        (("too", "many"), KeyError("unreached"), "TypeError"),
        ((), ConfigurationError("the password is refused"), "ConfigurationError"),
    ],
)
def test_a_job_that_raises_or_is_called_wrong_is_parked(
    place: Place, args: tuple[str, ...], error: Exception, cause: str
) -> None:
    Wrong.error = error
    with place.running(Wrong, *args, queue=JOBS) as task, pytest.raises(EXPECTED):
        task.run(*args)
    letter = place.letter()
    assert (letter.queue, letter.task, letter.exception) == (JOBS, "wrong", cause)


def test_a_job_that_meets_an_outage_waits_for_its_next_time(place: Place) -> None:
    Wrong.error = StoreUnavailable("away")
    with place.running(Wrong, queue=JOBS) as task:
        assert task.run() == {"outcome": "failed", "detail": "away"}
    assert place.published == []


def test_a_retry_that_the_broker_does_not_take_gives_the_message_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError("no broker")

    Fails.error = FetchFailed("503")
    with place.running(Fails, BODY) as task:
        monkeypatch.setattr(type(task), "signature_from_request", refused_signature(refused))
        with pytest.raises(Reject) as raised:
            task.run(BODY)
    assert raised.value.requeue
    assert place.published == []


def refused_signature(refused: Callable[..., None]) -> Callable[..., Any]:
    """Makes signatures that cannot be sent."""

    class Signature:
        args = kwargs = ()
        apply_async = staticmethod(refused)

    return lambda *_, **__: Signature()


@pytest.mark.parametrize("error", [InvalidMessage("no field"), RuntimeError("a bug")])
def test_a_foreign_message_that_meets_any_error_is_parked_whole(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Intake, "accept_job", refuse)
    text = '{"docid": "shop", "product_id": 7, "product_url": "http://a/b.jpg"}'
    foreign = {
        "queue": JOBS,
        "lane": int(Lane.INTERACTIVE),
        "problem": "",
        "content_type": "application/json",
        "headers": {},
        "body": base64.b64encode(text.encode()).decode(),
    }
    with place.running(Foreign, foreign, queue=JOBS) as task:
        assert task.run(foreign)["outcome"] == "parked"
    letter = place.letter()
    assert (letter.exception, letter.args) == (type(error).__name__, [text])


def test_workers_that_cannot_be_asked_are_a_broker_that_is_away(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset(*_: object, **__: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(Inspect, "active", reset)
    with pytest.raises(BrokerUnavailable, match="reset by peer"):
        images_at_work(place.app)


def test_parking_twice_is_one_record(place: Place) -> None:
    letter = DeadLetter(key="k", queue=TAG, task=TAG, task_id="k", exception="E", message="m")
    for _ in range(2):
        Parking(place.here.stores.documents, place.publisher(place.app)).park(
            letter, ends_image=False
        )
    (record,) = place.here.stores.documents.dead_letters()
    assert (record.tries, len(place.published)) == (2, 2)


def test_every_task_of_ours_parks_its_failures() -> None:
    own = {n: task for n, task in tasks.app.tasks.items() if not n.startswith("celery.")}
    assert own and all(isinstance(task, ParkingTask) for task in own.values())
