"""What the document store does, on MongoDB."""

import pytest

from tests.unit.stores.test_documents import *  # noqa: F403

pytestmark = pytest.mark.services
