"""What every object store does, on S3."""

import pytest

from tests.unit.stores.test_objects import *  # noqa: F403

pytestmark = pytest.mark.services
