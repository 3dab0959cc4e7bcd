"""What the store of comparisons with a challenger does, on MariaDB or MySQL."""

import pytest

from tests.unit.stores.test_shadow import *  # noqa: F403

pytestmark = pytest.mark.services
