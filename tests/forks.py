"""Commands in a copy of this process: as of `subprocess`, without the seconds of their imports."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

NUMBERS = itertools.count()


class Fork:
    """A process that calls a function, and exits with the status that it returns.

    Attributes:
        pid: Number of the process.
        stdout: File of what the process has written so far; stderr: the same.
    """

    def __init__(self, folder: Path, call: Callable[[], Any], **environment: str) -> None:
        number = next(NUMBERS)
        self.stdout, self.stderr = folder / f"stdout-{number}", folder / f"stderr-{number}"
        self.stdout.touch()

        def start() -> None:
            # A shell starts what runs in the background with SIGINT ignored, us perhaps too.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.environ.update(environment)
            for descriptor, file in enumerate((self.stdout, self.stderr), 1):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
            sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
            sys.exit(call())

        self.process = multiprocessing.get_context("fork").Process(target=start)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
            self.process.start()
        self.pid = self.process.pid or 0

    def wait_until(self, condition: Callable[[], bool], timeout: float = 90) -> None:
        """Return when a condition holds; fail where the process ends before, or in time."""
        deadline = time.monotonic() + timeout
        while not condition():
            if not self.process.is_alive() or time.monotonic() > deadline:
                raise AssertionError(self.end(signal.SIGKILL))
            time.sleep(0.005)

    def end(self, number: int | None = None, timeout: float = 90) -> tuple[int, str, str]:
        """Wait for the process, after a signal or not.

        Returns:
            Its exit status, or a signal's number below zero; what it wrote.
        """
        if number is not None and self.process.is_alive():
            os.kill(self.pid, number)
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"still running after {timeout} s")
        return self.process.exitcode, self.stdout.read_text(), self.stderr.read_text()
