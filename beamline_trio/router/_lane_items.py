"""What stands in a route's lanes: items, and the accounts of their tenants.

Must not decide who is next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


class Account(Generic[T]):
    """A tenant that has something queued or taken."""

    __slots__ = (
        "bytes",
        "credit",
        "in_ring",
        "messages",
        "overflowing",
        "queued",
        "ready",
        "taken",
        "tenant",
        "weight",
    )

    def __init__(self, tenant: Hashable, weight: int) -> None:
        self.tenant = tenant
        self.weight = weight
        self.credit = weight  # what is left of its turn
        self.queued = 0  # ready, or waiting in its lane
        self.messages = self.bytes = 0  # of these what is not held
        self.overflowing = False  # it was told that it had no room, and was not idle since
        self.taken = 0
        self.in_ring = False
        self.ready: deque[Item[T]] = deque()


@attrs.define(eq=False)
class Item(Generic[T]):
    """What was put, from `put` to `done`.

    Attributes:
        value: what the caller queued.
        key: no two of one key are taken at once; None: no order.
        size: bytes it counts for.
        since: when it was put, in seconds of the caller's clock.
        held: it is beyond its tenant's part of the queue.
    """

    value: T
    key: Hashable | None
    account: Account[T]
    size: int
    since: float
    held: bool

    @property
    def tenant(self) -> Hashable | None:
        """Whose it is."""
        return self.account.tenant
