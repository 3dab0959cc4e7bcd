"""The stores that a step reads and writes."""

from tests.unit.stores.conftest import (
    documents,
    events,
    objects,
    open_documents,
    open_events,
    open_objects,
    open_queries,
    queries,
)

__all__ = [
    "documents",
    "events",
    "objects",
    "open_documents",
    "open_events",
    "open_objects",
    "open_queries",
    "queries",
]
