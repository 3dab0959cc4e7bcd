"""The same site as the service tests."""

from tests.services.conftest import site

__all__ = ["site"]
