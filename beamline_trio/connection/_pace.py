"""How often an operation that normally does not wait looks at cancellation, and yields to the other tasks.

Must not wait for anything else.
"""

from __future__ import annotations

import trio

# How many calls may pass between two looks at cancellation, and between two schedule points.
CALLS_PER_CHECK = 32
CALLS_PER_YIELD = 1024
SECONDS_PER_YIELD = 0.002


class Pace:
    """When an operation that normally does not wait must look at cancellation, or yield to the other tasks.

    At least every CALLS_PER_CHECK calls cancellation is looked at; at least every CALLS_PER_YIELD calls, or
    SECONDS_PER_YIELD, the task yields. One pace serves all tasks of an object: between two calls of one task that
    had no schedule point, no other task can have run.
    """

    __slots__ = ("_calls", "_since")

    def __init__(self) -> None:
        self._calls = 0
        self._since = 0.0

    async def check(self) -> None:
        """Called every CALLS_PER_CHECK calls."""
        self._calls += CALLS_PER_CHECK
        now = trio.current_time()
        if self._calls >= CALLS_PER_YIELD or now - self._since > SECONDS_PER_YIELD - 1e-6:
            await trio.lowlevel.checkpoint()
            self.yielded()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    def yielded(self) -> None:
        """The task has just had a schedule point."""
        self._calls = 0
        self._since = trio.current_time()
