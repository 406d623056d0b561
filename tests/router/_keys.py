"""A store of keys that fails as a test says, and a route whose messages have keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import trio

from beamline_trio import Message
from beamline_trio.router import Claim, MemoryIdempotence, Publish, Retry, Router

QUICK = Retry(delays_seconds=(1,), jitter=0, max_deliver=5)


def by_payload(message: Message) -> str:
    """The key of a message of these tests."""
    return message.payload.decode()


class FailingStore(MemoryIdempotence):
    """Does what a test says before each of its operations, and after."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.before: dict[str, Callable[[], Any]] = {}
        self.after: dict[str, Callable[[], Any]] = {}

    async def claim(self, key: str) -> Claim:
        await self.do("claim", self.before)
        claim = await super().claim(key)
        await self.do("claim", self.after)
        return claim

    async def confirm(self, key: str) -> None:
        await self.do("confirm", self.before)
        await super().confirm(key)
        await self.do("confirm", self.after)

    async def release(self, key: str) -> None:
        await self.do("release", self.before)
        await super().release(key)

    async def do(self, name: str, what: dict[str, Callable[[], Any]]) -> None:
        done = what.get(name, lambda: None)()
        if done is not None:
            await done


def fails(error: Exception, times: int = 1_000_000) -> Callable[[], None]:
    """Raises it so many times."""
    left: Iterator[int] = iter(range(times))

    def step() -> None:
        if next(left, None) is not None:
            raise error

    return step


def hangs_once() -> Callable[[], Any]:
    """The first time it never comes back."""
    left = [trio.sleep_forever]

    def step() -> Any:
        return left.pop()() if left else None

    return step


def copying(router: Router, **options: Any) -> None:
    """A route that publishes each payload to OUT."""

    @router.route("in.*", stream="IN", idempotent_by=by_payload, **{"retry": QUICK, **options})
    async def copy(message: Message) -> Publish:
        return Publish("out.a", message.payload)
