"""The task graph of one image, and the one way to send it, whole or from any stage on.

    enhance -> update -> (tag | describe) -> score -> alt text

An upload, a replay, and an image that the reconciler found stuck all go through ``Sender``.
Tasks are named, not imported: whoever sends needs no model.
"""

from typing import Any

from amqp.exceptions import PreconditionFailed
from celery import Celery
from celery.canvas import Signature, chain, group

from pipeline.backlog import Backlog, backlog, waiting
from pipeline.dead_letters import CONFIRM_SECONDS
from pipeline.error_queues import ErrorQueues
from pipeline.errors import BrokerUnavailable, ConfigurationError
from pipeline.joins import server_version
from pipeline.messages import ImageMessage
from pipeline.queues import Lane, Stage, lane_queue
from pipeline.records import CatalogueImage, ImageMetadata
from pipeline.topology import BROKER_ERRORS, asking, declare
from pipeline.workers import workers

STEPS: tuple[tuple[Stage, ...], ...] = (
    (Stage.ENHANCE,),
    (Stage.UPDATE,),
    (Stage.TAG, Stage.DESCRIBE),
    (Stage.SCORE,),
    (Stage.ALT_TEXT,),
)


def message_for(image: CatalogueImage) -> ImageMessage:
    """The message that an image travels with."""
    return ImageMessage(
        docid=image.docid,
        product_id=image.product_id,
        generation=image.generation,
        correlation_id=image.correlation_id,
        force=image.force,
        prompt_name=image.prompt_name,
    )


def graph(app: Celery, message: ImageMessage, start: Stage, lane: Lane) -> Signature:
    """The canvas of an image from ``start`` on.

    Every task is given the same message and takes nothing from the one before: what a stage found
    lies in the stores. That makes each of them safe to run again, and any of them a start.
    """
    body = message.encode()

    def task(stage: Stage) -> Signature:
        return app.signature(
            stage.value,
            args=(body,),
            immutable=True,
            queue=lane_queue(stage.value, lane),
            # Nobody waits for a result; without this the sender subscribes to each of them.
            ignore_result=True,
            # What Flower and the log show of a task; see `image_of`.
            argsrepr=f"{message.docid}/{message.product_id}",
            kwargsrepr="{}",
            confirm_timeout=CONFIRM_SECONDS,
        )

    first = next(index for index, step in enumerate(STEPS) if start in step)
    steps = [
        task(step[0]) if len(step) == 1 else group(task(stage) for stage in step)
        for step in STEPS[first:]
    ]
    return chain(*steps) if len(steps) > 1 else steps[0]


def image_of(shown: Any) -> tuple[str, int] | None:
    """(docid, product_id) of what a task shows of its arguments; none where it is no image."""
    docid, _, product_id = str(shown).partition("/")
    return (docid, int(product_id)) if product_id.isdecimal() else None


def next_stage(metadata: ImageMetadata | None) -> Stage | None:
    """The first stage that has not ended yet by the records; none when all have."""
    ended = metadata.stages if metadata else {}
    return next(
        (stage for step in STEPS for stage in step if stage.value not in ended),
        None,
    )


def step_of(stage: Stage) -> tuple[Stage, ...]:
    """The stages that run side by side with ``stage``, itself among them."""
    return next(step for step in STEPS if stage in step)


def stage_behind(stage: Stage) -> Stage | None:
    """The stage that begins when ``stage`` has ended; none if it waits for others, or is last."""
    place = STEPS.index(step_of(stage))
    is_last = place == len(STEPS) - 1
    return None if is_last or len(STEPS[place]) > 1 else STEPS[place + 1][0]


class Sender:
    """Sends graphs to the broker.

    Args:
        app: a Celery application with the settings of ``celeryconfig``; made when not given.
    """

    def __init__(self, app: Celery | None = None) -> None:
        if app is None:
            app = Celery("justlens")
            app.config_from_object("celeryconfig")
        self._app = app

    def __call__(self, image: CatalogueImage, start: Stage = Stage.ENHANCE) -> None:
        """Send the graph of an image from ``start`` on.

        Raises:
            BrokerUnavailable: the broker did not take the message.
        """
        canvas = graph(self._app, message_for(image), start, image.lane)
        try:
            canvas.apply_async()
        except BROKER_ERRORS as error:
            raise BrokerUnavailable(f"the broker did not take the message: {error}") from error

    def prepare(self) -> None:
        """Make all exchanges and queues; safe to repeat. On Valkey they come with their messages.

        Raises:
            BrokerUnavailable: the broker does not answer.
            ConfigurationError: it has others under our names.
        """
        try:
            with self._app.connection_for_write() as connection:
                if connection.transport.driver_type == "amqp":
                    declare(connection)
        except PreconditionFailed as error:
            raise ConfigurationError(
                f"{error.reply_text}: drain and delete it, or give JustLens a virtual host of its "
                "own by JUSTLENS_BROKER_URL"
            ) from error
        except BROKER_ERRORS as error:
            raise BrokerUnavailable(f"the broker does not answer: {error}") from error

    def broker(self) -> str:
        """Which broker it is, and in which version; for people.

        Raises:
            BrokerUnavailable: it does not answer.
        """
        with asking(self._app) as connection:
            if connection.transport.driver_type == "redis":
                channel: Any = connection.default_channel
                return server_version(channel.client.info("server"))
            known = connection.connection.server_properties
            return f"{known['product']} {known['version']}"

    @property
    def error_queues(self) -> ErrorQueues:
        """The queues that dead letters lie in."""
        return ErrorQueues(self._app)

    def backlog(self) -> Backlog:
        """Messages that wait in each lane of each queue; see ``pipeline.backlog``."""
        return backlog(self._app)

    def waiting(self, lane: Lane) -> int:
        """Messages that wait in a lane of all stages; see ``pipeline.backlog``."""
        return waiting(self._app, lane)

    def workers(self) -> dict[str, list[str]]:
        """The queues of each worker that answers; see ``pipeline.workers``."""
        return workers(self._app)
