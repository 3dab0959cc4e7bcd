"""``image_jobs``: work on the whole rather than on an image."""

import logging
import math
import time
from abc import abstractmethod
from functools import partial
from typing import Any

from celery.exceptions import TaskPredicate

from pipeline.backlog import depths
from pipeline.dead_letters import Parking, Publisher
from pipeline.errors import TransientError
from pipeline.graph import Sender
from pipeline.reconcile import reconcile
from pipeline.unrecorded import Unrecorded
from tasks.parking import ParkingTask, park
from tasks.runtime import runtime
from tasks.worker import certain_messages, recover_from_dead_workers

log = logging.getLogger(__name__)

DAY = 24 * 3600


class Job(ParkingTask):
    """Base class of what beat sends again and again."""

    @abstractmethod
    def work(self) -> dict[str, Any]:
        """Do it; returns what came of it."""

    def run(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What Celery calls. What is away now may be there at the next time; the rest is parked."""
        try:
            return self.work(*args, **kwargs)
        except TransientError as error:
            log.warning("%s waits for the next time: %s", self.name, error)
            return {"outcome": "failed", "detail": str(error)}
        except TaskPredicate:
            raise
        except Exception as error:
            park(self.app, self.request, error, ends_image=False)
            raise


class Reconcile(Job):
    """Sends again what has been lost on its way; beat calls it every half minute."""

    name = "reconcile"

    _last = -math.inf

    def work(self) -> dict[str, Any]:
        """Returns how many images were sent again, and how many dead letters got their record."""
        here = runtime()
        now = time.monotonic()
        if now - self._last < here.settings.reconcile_every / 2:
            return {"sent": 0, "parked": 0}
        self._last = now
        recover_from_dead_workers(self.app)
        sender, documents = Sender(self.app), here.stores.documents
        waiting = sender.backlog()
        sent = reconcile(
            documents,
            sender,
            depths(waiting),
            here.settings,
            time.time(),
            partial(certain_messages, self.app),
        )
        parking = Parking(documents, Publisher(self.app))
        parked = Unrecorded(documents, sender.error_queues, parking).park(waiting)
        return {"sent": sent, "parked": parked}


class ForgetEvents(Job):
    """Removes impressions, clicks and comparisons with challengers that have been kept long enough;
    beat calls it every hour."""

    name = "forget_events"

    def work(self) -> dict[str, Any]:
        """Returns how many were removed."""
        here = runtime()
        if not here.settings.events_days:
            return {"forgotten": 0}
        before = time.time() - here.settings.events_days * DAY
        forgotten = here.stores.events.forget(before)
        return {"forgotten": forgotten + here.stores.shadow.forget(before)}
