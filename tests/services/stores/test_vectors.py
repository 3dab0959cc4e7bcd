"""What every vector store does, on Milvus."""

import pytest

from tests.unit.stores.test_vectors import *  # noqa: F403

pytestmark = pytest.mark.services
