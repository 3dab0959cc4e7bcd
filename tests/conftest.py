"""With ``JUSTLENS_NO_SKIPS`` set, a skipped test is a failed one.

Only what compares with the measuring data, which is not part of the repository, may be skipped.
"""

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

ABSENT = "the measuring data is not here"

# Threads of torch would wait for each other by turning in a circle, on cores that other processes
# of the tests have work for.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# What a shell has set up for an installation is not meant for the tests.
MEANT = ("JUSTLENS_TEST_", "JUSTLENS_NO_SKIPS")
for _name in list(os.environ):
    if _name.startswith("JUSTLENS_") and not _name.startswith(MEANT):
        del os.environ[_name]

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _without_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _without_skip((yield))


def _without_skip(report: Report) -> Report:
    if "JUSTLENS_NO_SKIPS" in os.environ and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if ABSENT not in reason:
            report.outcome = "failed"
            report.longrepr = f"skipped, which JUSTLENS_NO_SKIPS forbids: {reason}"
    return report
