"""Hours of queries and clicks, from MariaDB or MySQL to S3."""

from types import SimpleNamespace

import pytest

from tests.unit.retraining.test_roll import *  # noqa: F403
from tests.unit.retraining.test_roll import at, hour

pytestmark = pytest.mark.services

__all__ = ["at", "hour"]


@pytest.fixture
def stores(documents, s3_objects, queries, events):
    return SimpleNamespace(documents=documents, objects=s3_objects, queries=queries, events=events)
