"""``image_jobs``: work on the whole rather than on an image."""

import math
import time
from functools import partial
from typing import Any

from celery import Task

from pipeline.backlog import depths
from pipeline.graph import Sender
from pipeline.reconcile import reconcile
from tasks.runtime import runtime
from tasks.worker import certain_messages, recover_from_dead_workers

DAY = 24 * 3600


class Reconcile(Task):
    """Sends again what has been lost on its way; beat calls it every half minute."""

    name = "reconcile"

    _last = -math.inf

    def run(self) -> dict[str, Any]:
        """Returns how many images were sent again."""
        here = runtime()
        now = time.monotonic()
        if now - self._last < here.settings.reconcile_every / 2:
            return {"sent": 0}
        self._last = now
        recover_from_dead_workers(self.app)
        sender = Sender(self.app)
        sent = reconcile(
            here.stores.documents,
            sender,
            depths(sender.backlog()),
            here.settings,
            time.time(),
            partial(certain_messages, self.app),
        )
        return {"sent": sent}


class ForgetEvents(Task):
    """Removes impressions and clicks that have been kept long enough; beat calls it every hour."""

    name = "forget_events"

    def run(self) -> dict[str, Any]:
        """Returns how many events were removed."""
        here = runtime()
        days = here.settings.events_days
        return {"forgotten": here.stores.events.forget(time.time() - days * DAY) if days else 0}
