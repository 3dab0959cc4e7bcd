"""The stores of the ``services`` profile, each on a server, for the contract suites.

The suites are those of ``tests/unit/stores``: a module here imports one, and finds fixtures of the
same names below. Every test gets a database, bucket or collection of its own.
"""

from collections.abc import Iterator

import pytest

from pipeline.stores.documents import DocumentStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.relational import Directory
from pipeline.stores.vectors import VectorStore
from tests.unit.stores.conftest import Opener
