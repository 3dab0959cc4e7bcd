"""The same site as the service tests, and what a run of chaos came to as the last line of all."""

import sys

from tests.services.conftest import (
    milvus_server,
    milvus_url,
    s3_server,
    s3_url,
    site,
)

__all__ = ["milvus_server", "milvus_url", "s3_server", "s3_url", "site"]

COUNTS = ""


def pytest_unconfigure() -> None:
    """After pytest's own summary."""
    if COUNTS:
        sys.stdout.write(COUNTS + "\n")
