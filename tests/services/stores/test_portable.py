"""Rows carried between embedded stores and those on servers."""

import pytest

from tests.unit.stores.test_portable import *  # noqa: F403

pytestmark = pytest.mark.services
