"""What locust runs: requests that are due at random and wait for nobody.

Locust patches sockets and threads, so that it runs in a process of its own: see `measuring.load`.
Its users ask again when they have been answered, and slow down with the server; this one user has
a greenlet for every request instead.
"""

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Group
from locust import FastHttpUser, task

PLAN = json.loads(Path(os.environ["LOAD_PLAN"]).read_text())
"""The fields of `measuring.load.Plan`."""


class Arrivals(FastHttpUser):
    """Sends what is planned, and writes a line about each answer."""

    host = PLAN["url"]
    concurrency = 10_000
    connection_timeout = network_timeout = PLAN["patience"]

    @task
    def arrive(self) -> None:
        """All requests of the plan, then the end."""
        dice = random.Random(PLAN["seed"])
        asked = Group()
        due = began = time.perf_counter()
        with Path(PLAN["answers"]).open("w") as self._answers:
            for kind, method, path, body in PLAN["requests"]:
                due += dice.expovariate(PLAN["rate"])
                gevent.sleep(max(0.0, due - time.perf_counter()))
                asked.spawn(self._ask, kind, method, path, body, due, began)
            asked.join()
        self.environment.runner.quit()

    def _ask(self, kind: str, method: str, path: str, body: Any, due: float, began: float) -> None:
        answer = self.client.request(method, path, name=kind, json=body)
        now = time.perf_counter()
        row = [kind, due - began, now - due, answer.status_code]
        self._answers.write(json.dumps(row) + "\n")
