"""The figures that our processes have."""

from prometheus_client import REGISTRY

import tasks
from api import main
from api.scrape import Scrape
from api.wiring import Services


def known_samples(services: Services) -> set[str]:
    """The names of all samples that our processes can have, and of Python's own."""
    assert tasks.app, "the figures of workers are defined"
    names = set()
    for metric in (*REGISTRY.collect(), *Scrape(services, main.app.state.needs).collect()):
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        names |= {metric.name + ending for ending in endings.get(metric.type, ("",))}
    return names
