"""What the store of impressions and clicks does, on MariaDB or MySQL."""

import pytest

from tests.unit.stores.test_events import *  # noqa: F403

pytestmark = pytest.mark.services
