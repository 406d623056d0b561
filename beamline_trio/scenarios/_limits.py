"""Limits on what a run may use more at its end than in its base: a warning, then a failure. Pure.

Must not measure.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

_MEGABYTE: Final = 1_000_000


class Mark(enum.StrEnum):
    """How something stands."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


# The worst mark of its findings -> the result of a run.
RESULTS: Final = {Mark.OK: "passed", Mark.WARN: "passed with warnings", Mark.FAIL: "failed"}


@attrs.frozen
class Limit:
    """Above `warn` it is told, above `fail` the run has failed."""

    warn: float
    fail: float

    def mark(self, value: float) -> Mark:
        """How a value stands."""
        if value > self.fail:
            return Mark.FAIL
        return Mark.WARN if value > self.warn else Mark.OK


TASKS: Final = Limit(50, 100)
MEMORY_BYTES: Final = Limit(100 * _MEGABYTE, 200 * _MEGABYTE)
CONNECTIONS: Final = Limit(5, 10)
RECONNECT_SECONDS: Final = 30.0
RECOVERY_SECONDS: Final = 300.0
