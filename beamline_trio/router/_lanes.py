"""A route's bounded queue: order within a key, weighted fairness between tenants, quotas and a rate. All decisions.

A key's items form a lane: its head is ready while none of the key is taken, the rest wait behind it. Ready items stand
in the line of their tenant, and the tenants that have ready items and are below their quota stand in a ring: deficit
round robin, a tenant's turn is as many items as its weight. An item without a key is a lane of its own, one without a
tenant belongs to the tenant None, so there is one mechanism for all routes. Every step costs the same however much is
queued. Tenants and keys with nothing queued and nothing taken are forgotten.

A tenant has a part of the queue (`has_room`). What it has beyond it can be put as held: its place in the line is the
same, but it counts for a limit of its own, so that a tenant whose work hangs fills nobody else's queue.

Must not wait, read a clock or know what an item is; must not forget a key as long as one of it is taken.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from ..connection import InternalError, OptionsError
from ._lane_items import Account, Item
from ._rate import Rate

T = TypeVar("T")


class Lanes(Generic[T]):
    """The queue between a route's source and its workers.

    Within a key items are taken in the order they were put, and the next only after `done` of the one before. Tenants
    take turns; in a round each gets as many as its weight, and nobody gets more than `quota` taken at once. What is
    ready is taken as soon as somebody takes: no slot is kept free for a tenant that has nothing to do.

    Args:
        messages_max: what may be queued, not counting what is taken; at least 1.
        bytes_max: the same in bytes; at least 1. The last item may reach beyond, so that one larger than this passes.
        held_max: what may be held besides, of all tenants together; 0 = nothing, and `put` takes no held ones.
        quota: items of one tenant that may be taken at once; None = no limit.
        weights: tenant -> items in its turn, at least 1; who is not in it has 1.
        rate: takes per second; None = no limit.

    Raises:
        OptionsError: a number is out of its bounds.
    """

    def __init__(
        self,
        *,
        messages_max: int = 1000,
        bytes_max: int = 64 * 1024 * 1024,
        held_max: int = 0,
        quota: int | None = None,
        weights: Mapping[Any, int] | None = None,
        rate: Rate | None = None,
    ) -> None:
        for name, value in (("queue_messages_max", messages_max), ("queue_bytes_max", bytes_max), ("quota", quota)):
            if value is not None and value < 1:
                raise OptionsError(f"{name} is {value}; it must be at least 1")
        self.rate = rate
        self.bytes = 0
        self.messages_max = messages_max
        self._bytes_max = bytes_max
        self._held_max = held_max
        self._quota = sys.maxsize if quota is None else quota
        self._weights = _checked(weights or {})
        self._count = 0  # what is not held
        self._held = 0
        # Key -> what waits behind its head, which is ready or taken.
        self._lanes: dict[Hashable, deque[Item[T]] | None] = {}
        self._nobody: Account[T] = Account(None, self._weights.get(None, 1))  # most routes have no tenants: kept
        self._accounts: dict[Hashable, Account[T]] = {None: self._nobody}
        self._ring: deque[Account[T]] = deque()

    def __len__(self) -> int:
        """How many are queued; what is taken is not."""
        return self._count + self._held

    @property
    def full(self) -> bool:
        """Whether something has to be taken before any tenant's next can be put: as held, where that is possible."""
        if self._held_max:
            return self._held >= self._held_max
        return self._count >= self.messages_max or self.bytes >= self._bytes_max

    @property
    def idle(self) -> bool:
        """Whether nothing is queued and nothing taken: no key and no tenant is remembered."""
        return not self._lanes and len(self._accounts) == 1 and not self._nobody.queued and not self._nobody.taken

    def has_room(self, tenant: Hashable | None) -> bool:
        """Whether the tenant is within its part of the queue: no more than its weight times what is still free.

        One tenant alone gets half of the queue, two that flood it get a third each, and so on: however many flood it,
        the others find it open. The same holds for the bytes. For routes without tenants `full` says all there is to
        say. What becomes of that for which there is no room (hold it, turn it away) is the caller's policy.
        """
        free, free_bytes = self.messages_max - self._count, self._bytes_max - self.bytes
        account = self._accounts.get(tenant)
        if account is None:
            return free > 0 and free_bytes > 0
        return account.messages < account.weight * free and account.bytes < account.weight * free_bytes

    def overflow(self, tenant: Hashable | None) -> bool:
        """The tenant was found without room; returns whether it was not since it has last had nothing here."""
        account = self._accounts.get(tenant)
        if account is None or account.overflowing:
            return account is None
        account.overflowing = True
        return True

    def put(
        self,
        value: T,
        *,
        key: Hashable | None,
        tenant: Hashable | None,
        size: int,
        now: float = 0.0,
        held: bool = False,
    ) -> None:
        """Queue one behind the others of its key.

        Raises:
            TypeError: key or tenant cannot be hashed; nothing was queued.
            InternalError: there is no place for it; see `full` and `has_room` before.
        """
        full = self._count >= self.messages_max or self.bytes >= self._bytes_max
        if self._held >= self._held_max if held else full:
            raise InternalError(
                f"put on a queue of {self._count} messages, {self.bytes} bytes and {self._held} held; it takes "
                f"{self.messages_max}, {self._bytes_max} and {self._held_max} (queue_messages_max, queue_bytes_max, "
                "held_messages_max): wait until it is not full"
            )
        head = key is None or key not in self._lanes
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = Account(tenant, self._weights.get(tenant, 1))
        item = Item(value, key, account, size, now, held)
        account.queued += 1
        self._add(item)
        if head:
            if key is not None:
                self._lanes[key] = None
            self._make_ready(item)
            return
        waiting = self._lanes[key]
        if waiting is None:
            waiting = self._lanes[key] = deque()
        waiting.append(item)

    def take(self, now: float) -> Item[T] | None:
        """The next to work on, or None: nothing is ready, or the rate says wait. Hand it to `done` afterwards."""
        ring = self._ring
        if not ring or (self.rate is not None and not self.rate.take(now)):
            return None
        account = ring[0]
        ready = account.ready
        item = ready.popleft()
        account.taken += 1
        account.queued -= 1
        account.credit -= 1
        self._remove(item)
        if not ready or account.taken >= self._quota:
            ring.popleft()
            account.in_ring = False
            account.credit = account.weight
        elif not account.credit:
            ring.rotate(-1)
            account.credit = account.weight
        return item

    def done(self, item: Item[T]) -> None:
        """The work on a taken item has ended, however: the next of its key is ready. Once per item."""
        self._settle(item.account)
        if item.key is not None:
            self._release(item.key)

    def take_more(self, now: float, count: int, keys: Iterable[Hashable]) -> tuple[list[Item[T]], bool]:
        """Take for a batch, in which several of one key may stand in their order.

        What it gives still counts as queued until `leave`. End its work with `done_all`.

        Args:
            now: as for `take`.
            count: how many at most.
            keys: which the batch holds already, so that more of them may join.

        Returns:
            What was taken; whether more of the batch's keys is queued that the count, the quota or the rate kept out.
        """
        taken: list[Item[T]] = []
        followers: list[Item[T]] = []
        for key in keys:
            self._follow(key, followers)
        while len(taken) < count and (item := self.take(now)) is not None:
            taken.append(item)
            if item.key is not None:
                self._follow(item.key, followers)
        behind = False
        # Nothing else has become ready meanwhile: the followers that were not taken are the ends of the lines.
        for item in reversed(followers):
            if item.account.ready and item.account.ready[-1] is item:
                self._withdraw(item)
                behind = True
        for item in taken:
            self._add(item)
        return taken, behind

    def leave(self, items: list[Item[T]]) -> None:
        """What take_more gave counts as queued no longer."""
        for item in items:
            self._remove(item)

    def done_all(self, items: list[Item[T]]) -> None:
        """The work on a batch has ended, however. Once per batch, with all that take_more gave for it."""
        for item in items:
            self._settle(item.account)
        for key in dict.fromkeys(item.key for item in items):
            if key is not None:
                self._release(key)

    def next_ready(self, now: float) -> float:
        """When a take can give something: now, later (the rate), or never unless something is put or done (inf)."""
        if not self._ring:
            return math.inf
        return now if self.rate is None else self.rate.ready_at(now)

    def set_rate(self, per_second: float | None, now: float) -> None:
        """Another limit on takes per second from now on; None = no limit.

        Raises:
            OptionsError: it is not above 0 and finite; the old limit stays.
        """
        if per_second is None:
            self.rate = None
        elif self.rate is None:
            self.rate = Rate(per_second)
        else:
            self.rate.change(per_second, now)

    def drain(self) -> list[T]:
        """Everything that was never taken, in order within each key; it is queued no longer."""
        left = [item for account in self._accounts.values() for item in account.ready]
        for item in left:
            item.account.ready.clear()
        heads = [item.key for item in left if item.key is not None]
        for key, waiting in self._lanes.items():
            left.extend(waiting or ())
            self._lanes[key] = None
        for key in heads:
            del self._lanes[key]
        for account in self._ring:
            account.in_ring = False
            account.credit = account.weight
        self._ring.clear()
        for item in left:
            self._remove(item)
            item.account.queued -= 1
            self._forget_idle(item.account)
        return [item.value for item in left]

    def _add(self, item: Item[T]) -> None:
        """It counts for what the queue may have."""
        if item.held:
            self._held += 1
            return
        account = item.account
        account.messages += 1
        account.bytes += item.size
        self._count += 1
        self.bytes += item.size

    def _remove(self, item: Item[T]) -> None:
        """It does so no longer."""
        if item.held:
            self._held -= 1
            return
        account = item.account
        account.messages -= 1
        account.bytes -= item.size
        self._count -= 1
        self.bytes -= item.size

    def _make_ready(self, item: Item[T]) -> None:
        account = item.account
        account.ready.append(item)
        if not account.in_ring and account.taken < self._quota:
            account.in_ring = True
            self._ring.append(account)

    def _settle(self, account: Account[T]) -> None:
        """One less of a tenant's is taken."""
        account.taken -= 1
        if account.ready:
            if not account.in_ring and account.taken < self._quota:
                account.in_ring = True
                self._ring.append(account)
        elif not account.taken and not account.queued:
            self._forget_idle(account)

    def _release(self, key: Hashable) -> None:
        """Nothing of a key is taken any more."""
        waiting = self._lanes[key]
        if waiting:
            self._make_ready(waiting.popleft())
        else:
            del self._lanes[key]

    def _follow(self, key: Hashable, followers: list[Item[T]]) -> None:
        """Make the next of a taken key ready, for its own batch only."""
        waiting = self._lanes[key]
        if waiting:
            item = waiting.popleft()
            self._make_ready(item)
            followers.append(item)

    def _withdraw(self, item: Item[T]) -> None:
        """A follower at the end of its line waits for its key again."""
        account = item.account
        account.ready.pop()
        if not account.ready and account.in_ring:
            self._ring.remove(account)
            account.in_ring = False
            account.credit = account.weight
        waiting = self._lanes[item.key] or deque()
        waiting.appendleft(item)
        self._lanes[item.key] = waiting

    def _forget_idle(self, account: Account[T]) -> None:
        if account.taken or account.queued:
            return
        account.overflowing = False
        if account is not self._nobody:
            self._accounts.pop(account.tenant, None)


def _checked(weights: Mapping[Any, int]) -> dict[Any, int]:
    for tenant, weight in weights.items():
        if not isinstance(weight, int) or weight < 1:
            raise OptionsError(
                f"the weight of tenant {tenant!r} is {weight!r}; it must be a whole number of at least 1"
            )
    return dict(weights)
