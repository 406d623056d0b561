"""A worker of a route, as its pool, the sweeper and a drain see it, and what it hands its messages to.

Must not do anything by itself: the loop is in `_pool`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import trio

from ._delivery import Delivery
from ._guarded import GuardedSettlement

# Handles and settles a delivery whose route has guards.
Guarded: TypeAlias = Callable[[Delivery], Awaitable[str]]


class Settlement(GuardedSettlement, Protocol):
    """How messages end; each returns the outcome to count."""

    async def expire(self, delivery: Delivery) -> str: ...

    def abandon(self, delivery: Delivery) -> str: ...


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
