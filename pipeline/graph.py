"""The task graph of one image, and the one way to send it, whole or from any stage on.

    enhance -> update -> (tag | describe) -> score -> alt text

An upload, a replay, and an image that the reconciler found stuck all go through ``Sender``.
Tasks are named, not imported: whoever sends needs no model.
"""

from celery import Celery
from celery.canvas import Signature, chain, group
from kombu.exceptions import OperationalError

from pipeline.errors import BrokerUnavailable
from pipeline.messages import ImageMessage
from pipeline.queues import Lane, Stage
from pipeline.records import CatalogueImage, ImageMetadata

PARK = "park"

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
            queue=stage.value,
            priority=int(lane),
            # Nobody waits for a result; without this the sender subscribes to each of them.
            ignore_result=True,
            link_error=[app.signature(PARK)],
        )

    first = next(index for index, step in enumerate(STEPS) if start in step)
    steps = [
        task(step[0]) if len(step) == 1 else group(task(stage) for stage in step)
        for step in STEPS[first:]
    ]
    return chain(*steps) if len(steps) > 1 else steps[0]


def next_stage(metadata: ImageMetadata | None) -> Stage | None:
    """The first stage that has not ended yet by the records; none when all have."""
    ended = metadata.stages if metadata else {}
    return next(
        (stage for step in STEPS for stage in step if stage.value not in ended),
        None,
    )


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
        except (OperationalError, OSError) as error:
            raise BrokerUnavailable(f"the broker did not take the message: {error}") from error

    def depths(self, queues: tuple[str, ...]) -> dict[str, int]:
        """Messages that wait in each queue, both lanes."""
        try:
            with self._app.connection_for_read() as connection:
                channel = connection.default_channel
                # Not passive: on the Redis transport an empty queue does not exist.
                return {
                    queue: self._app.amqp.queues[queue](channel).queue_declare().message_count
                    for queue in queues
                }
        except (OperationalError, OSError) as error:
            raise BrokerUnavailable(f"the broker does not answer: {error}") from error
