"""Processes of the tests' own, forked from one that has imported much and opened nothing.

Most of the processor's time that a short-lived process takes goes into its imports.
"""

import atexit
import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(["tests.preloaded"])

ROOT = Path(__file__).resolve().parents[1]


class Command(FRESH.Process):
    """A command that runs from now on, with the methods of ``subprocess.Popen``.

    Args:
        main: its entry point.
        arguments: its words, of which the first is its name.
        environment: all its variables.
        output: the file to whose end it writes.
    """

    def __init__(
        self,
        main: Callable[[], object],
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
    ) -> None:
        # What Celery's log calls its first process. It ends with the tests at the latest.
        super().__init__(name="MainProcess", daemon=True)
        self._command = (main, list(arguments), dict(environment), output)
        self.start()

    def run(self) -> None:
        """All that the command does, in its process."""
        main, arguments, environment, output = self._command
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(ROOT)
        sys.argv = arguments
        with output.open("ab") as log:
            os.dup2(log.fileno(), sys.stdout.fileno())
            os.dup2(log.fileno(), sys.stderr.fileno())
        # One that hangs says where when it is sent SIGABRT.
        faulthandler.enable()
        try:
            main()
        finally:
            # A forked process ends without.
            atexit._run_exitfuncs()

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        return self.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, as soon as there is one.

        Raises:
            subprocess.TimeoutExpired: it still runs after so many seconds.
        """
        self.join(timeout)
        if self.exitcode is None:
            raise subprocess.TimeoutExpired(self._command[1], timeout or 0)
        return self.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        assert self.pid is not None
        os.kill(self.pid, number)
