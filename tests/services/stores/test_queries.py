"""What the store of typed queries does, on MariaDB or MySQL."""

import pytest

from tests.unit.stores.test_queries import *  # noqa: F403

pytestmark = pytest.mark.services
