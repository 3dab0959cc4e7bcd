"""What RabbitMQ needs of a worker: prefetch for each queue, and a bulk lane that waits its turn."""

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from celery import Celery, bootsteps
from kombu import Consumer, Queue

from pipeline.graph import image_of
from pipeline.queues import SLOTS, Lane, lane_queue, queue_of
from pipeline.topology import asking

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
# How long workers have to say what they are at.
ANSWER_SECONDS = 2.0


class SlotConsumer(Consumer):
    """Kombu's consumer, which takes from each queue as many messages as it has slots for it.

    On quorum queues prefetch belongs to a consumer: one number for all queues would let the worker
    hold, for a queue with few slots, messages that another worker could have done.

    Attributes:
        slots: of each queue in this worker.
    """

    slots: ClassVar[Mapping[str, int]] = SLOTS

    def revive(self, channel: Any) -> None:
        """Begin on a channel, which hands over bodies as they came, whatever they say they are."""
        super().revive(channel)
        revived: Any = self.channel
        revived.auto_decode = False

    def _basic_consume(self, queue: Queue, *args: Any, **kwargs: Any) -> Any:
        name, _ = queue_of(queue.name)
        channel: Any = self.channel
        # It holds for the consumers of this channel that are made after it.
        channel.basic_qos(0, self.slots.get(name, 1), False)
        return super()._basic_consume(queue, *args, **kwargs)


class BulkLanes(bootsteps.StartStopStep):
    """Stops taking from a bulk lane while its interactive lane has messages waiting."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def include_if(self, consumer: Any) -> bool:
        """Only RabbitMQ sends messages by itself; on Valkey lanes are asked in their order."""
        return consumer.app.connection_for_read().transport.driver_type == "amqp"

    def start(self, consumer: Any) -> None:
        """Look every second."""
        self._timer = consumer.timer.call_repeatedly(LOOK_EVERY, self.look, (consumer,))

    def stop(self, consumer: Any) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self, consumer: Any) -> None:
        """Take from each bulk lane whose interactive lane is empty, and from no other."""
        taking = consumer.task_consumer
        queues = consumer.app.amqp.queues
        for name in [name for name in queues.consume_from if queue_of(name)[1] is Lane.INTERACTIVE]:
            bulk = queues[lane_queue(name, Lane.BULK)]
            waiting = taking.channel.queue_declare(name, passive=True).message_count
            is_taken = taking.consuming_from(bulk.name)
            if waiting and is_taken:
                log.info("%s waits for %s", bulk.name, name)
                taking.cancel_by_queue(bulk.name)
            elif not waiting and not is_taken:
                log.info("taking from %s", bulk.name)
                taking.add_queue(bulk)
                taking.consume()


def images_at_work(app: Celery) -> set[tuple[str, int]]:
    """The (docid, product_id) of the messages that living workers hold, by their own account.

    Raises:
        BrokerUnavailable: they cannot be asked.
    """
    with asking(app) as connection:
        asked = app.control.inspect(timeout=ANSWER_SECONDS, connection=connection)
        held = [*(asked.active() or {}).values(), *(asked.reserved() or {}).values()]
    found = (image_of(task["args"]) for tasks in held for task in tasks)
    return {image for image in found if image is not None}
