"""The command ``justlens``; each subcommand is a module of this package.

Modules are imported when their command runs: ``justlens --help`` loads no model and no broker.
"""

import sys

from cli.main import app
from cli.output import fail
from pipeline.errors import JustLensError


def main() -> None:
    """Entry point: known errors are one clear line, not a traceback."""
    try:
        app()
    except JustLensError as error:
        fail(str(error))
        sys.exit(2)
