"""``image_jobs``: work on graphs rather than on images."""

import time
from functools import partial
from typing import Any

from celery import Task

from pipeline.graph import Sender
from pipeline.queues import QUEUES
from pipeline.reconcile import reconcile
from tasks.runtime import runtime
from tasks.worker import certain_messages, recover_from_dead_workers


class Reconcile(Task):
    """Sends again what has been lost on its way; beat calls it every half minute."""

    name = "reconcile"

    def run(self) -> dict[str, Any]:
        """Returns how many images were sent again."""
        here = runtime()
        recover_from_dead_workers(self.app)
        sender = Sender(self.app)
        sent = reconcile(
            here.stores.documents,
            sender,
            sender.depths(QUEUES),
            here.settings,
            time.time(),
            partial(certain_messages, self.app),
        )
        return {"sent": sent}
