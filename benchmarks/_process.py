"""Child processes of the runner: started, read line by line with a deadline, always ended.

Reads the file descriptor itself, because a buffered reader would hide lines from `select`.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent


class ChildError(RuntimeError):
    """A child process failed, was silent past its deadline, or said something that is not expected."""


class Child:
    """`python -m MODULE ARGUMENTS...` with the runner's interpreter, in a tree; use as a context manager."""

    def __init__(self, module: str, *arguments: str, directory: Path = PROJECT) -> None:
        self._name = module.rpartition(".")[2]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._buffer = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stdin.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._stdout.close()
        self._stderr.close()

    def line(self, timeout_seconds: float) -> dict[str, Any] | None:
        """Return the next JSON line, or None when there is none in time.

        Raises:
            ChildError: the process ended without another line.
        """
        deadline = time.monotonic() + timeout_seconds
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            chunk = os.read(self._stdout.fileno(), 1 << 16)
            if not chunk:
                raise ChildError(f"{self._name} ended with {self._process.wait()}: {self._last_words()}")
            self._buffer += chunk
        text, _, self._buffer = self._buffer.partition(b"\n")
        return dict(json.loads(text))

    def expect(self, timeout_seconds: float, event: str | None = None) -> dict[str, Any]:
        """Return the next JSON line, which must carry `event` (None: a result, which carries none).

        Raises:
            ChildError: another line, no line in time, or the process ended.
        """
        line = self.line(timeout_seconds)
        if line is None:
            raise ChildError(f"{self._name} said nothing for {timeout_seconds:g} s: {self._last_words()}")
        if line.get("event") != event:
            raise ChildError(f"{self._name} said {line!r} where {event or 'a result'} was expected")
        return line

    def stop(self, timeout_seconds: float = 10.0) -> dict[str, Any]:
        """Close the process's stdin, which asks it to end, and return its last line."""
        self._stdin.close()
        return self.expect(timeout_seconds)

    def _last_words(self) -> str:
        """The last line of its stderr with words in it: of a traceback, the (last) exception."""
        self._stderr.seek(0)
        lines = [line.strip(" |+-") for line in self._stderr.read().decode(errors="replace").splitlines()]
        return next((line for line in reversed(lines) if line), "(nothing on stderr)")
