"""``image_jobs``: work on graphs rather than on images."""

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
