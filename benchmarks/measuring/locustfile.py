"""What locust runs: requests that are due at random and wait for nobody.

Locust patches sockets and threads, so that it runs in a process of its own: see `measuring.load`.
Its users ask again when they have been answered, and slow down with the server. This one user has
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
PATIENCE = 60.0
HEADERS = {"Accept-Encoding": "gzip"}


class Arrivals(FastHttpUser):
    """Sends what is planned, and writes a line about each answer."""

    host = PLAN["url"]
    # As many connections as there are requests that wait.
    concurrency = 10_000
    connection_timeout = network_timeout = PATIENCE

    @task
    def arrive(self) -> None:
        """All steps, one after the other, then the end."""
        dice = random.Random(3)
        self._began = time.perf_counter()
        with Path(PLAN["answers"]).open("w") as self._answers:
            for step in PLAN["steps"]:
                asked, due = Group(), time.perf_counter()
                for request in step["requests"]:
                    due += dice.expovariate(step["rate"])
                    gevent.sleep(max(0.0, due - time.perf_counter()))
                    asked.spawn(self._ask, step["name"], due, *request)
                asked.join()
        self.environment.runner.quit()

    def _ask(self, step: str, due: float, kind: str, method: str, path: str, body: Any) -> None:
        answer = self.client.request(method, path, name=kind, json=body, headers=HEADERS)
        seconds = time.perf_counter() - due
        row = [step, kind, due - self._began, seconds, answer.status_code]
        self._answers.write(json.dumps(row) + "\n")
