"""A worker of a route, as its pool, the sweeper and a drain see it, and what it hands its messages to.

Must not do anything by itself: the loop is in `_pool`.
"""

from __future__ import annotations

from typing import Protocol

import trio

from ._delivery import Delivery
from ._outcomes import HandlerOutcome


class Settlement(Protocol):
    """How messages end; each returns the outcome to count."""

    async def settle(self, delivery: Delivery, outcome: HandlerOutcome) -> str: ...

    async def fail(self, delivery: Delivery, error: Exception) -> str: ...

    async def expire(self, delivery: Delivery) -> str: ...

    async def abandon(self, delivery: Delivery) -> str: ...


class Slot:
    """One worker, as others see it.

    Attributes:
        delivery: what it has in hand.
        has_room: it is one of the handlers that the router may run at once.
        held: it came together with an interruption, and its handler has not begun.
        settling: its deadline has passed, and it is being settled.
        retired: it ends when it has nothing in hand.
        interrupted: its scope was cancelled.
    """

    __slots__ = ("delivery", "has_room", "held", "interrupted", "retired", "scope", "settling", "task")

    def __init__(self) -> None:
        self.delivery: Delivery | None = None
        self.has_room = False
        self.held = False
        self.settling = False
        self.retired = False
        self.interrupted = False
        self.scope = trio.CancelScope()
        self.task: trio.lowlevel.Task | None = None

    def interrupt(self) -> None:
        """Cancel what it does: the handler, or its waiting for a message."""
        self.interrupted = True
        self.scope.cancel()
