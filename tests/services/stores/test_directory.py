"""What the relational store does, on MariaDB or MySQL."""

import pytest

from tests.unit.stores.test_directory import *  # noqa: F403

pytestmark = pytest.mark.services
