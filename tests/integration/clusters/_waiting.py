"""Waiting for what real servers do in their own time, with a limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")
LIMIT_SECONDS = 40.0
"""Longer than two failed elections, of up to 9 s each, and what a busy machine adds."""


async def eventually(question: Callable[[], Awaitable[T | None]]) -> T:
    """The first answer that is one."""
    with trio.fail_after(LIMIT_SECONDS):
        while True:
            if (answer := await question()) is not None:
                return answer
            await trio.sleep(0.05)
