"""How long each method of a store takes, for all stores at one place."""

import inspect
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

from pipeline.metrics import STORE_SECONDS, count_later

Store = TypeVar("Store")

# What asks no server anything.
UNTIMED = frozenset({"close", "stage_ended", "url"})


def timed(store: Store, name: str) -> Store:
    """The same store; its methods are timed under ``name`` from now on.

    The timed methods are attributes of this one object, which stays an instance of its class. A
    method that another one calls is counted by itself, too.
    """
    for method in _methods(type(store)):
        observe = STORE_SECONDS.labels(name, method).observe
        setattr(store, method, _timed(getattr(store, method), observe))
    return store


def _methods(store: type) -> Iterator[str]:
    for name, function in inspect.getmembers(store, inspect.isfunction):
        # A generator's work is done after the call.
        lazy = inspect.isgeneratorfunction(function)
        if not (name.startswith("_") or name in UNTIMED or lazy):
            yield name


def _timed(call: Callable[..., Any], observe: Callable[[float], object]) -> Callable[..., Any]:
    @wraps(call)
    def timed_call(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*arguments, **options)
        finally:
            count_later(observe, time.perf_counter() - began)

    return timed_call
