"""What the store of API keys does, on MariaDB or MySQL."""

import pytest

from tests.unit.stores.test_api_keys import *  # noqa: F403

pytestmark = pytest.mark.services
