"""What came before is acked without work: a middleware that claims the key of each message at its first delivery.

Only a first delivery can be a duplicate. Whoever has the key is itself a message of the stream, and comes again until
it is settled, so its duplicates need no second look. A message that comes again is worked on again, and what leaves for
it has the same ids.

Must not know what a message means.
"""

from __future__ import annotations

from collections.abc import Callable

from beamline_trio import JetStreamMessage
from beamline_trio.router import (
    CallNext,
    Claim,
    DeadLetter,
    Delivery,
    HandlerOutcome,
    Idempotence,
    Middleware,
    Retry,
)


def once(store: Idempotence, key_of: Callable[[JetStreamMessage], str | None]) -> Middleware:
    """The middleware.

    Args:
        store: where keys are claimed.
        key_of: the key of a message; None = it has none, and is always worked on.
    """

    async def middleware(delivery: Delivery, call_next: CallNext) -> HandlerOutcome:
        message = delivery.message
        assert isinstance(message, JetStreamMessage)
        key = key_of(message)
        if key is None:
            return await call_next(delivery)
        if delivery.number == 1 and await store.claim(key) is not Claim.NEW:
            return ()
        outcome = await call_next(delivery)
        if isinstance(outcome, DeadLetter):
            await store.release(key)  # refused now; when it is sent again it may be taken
        elif not isinstance(outcome, Retry):
            await store.confirm(key)
        return outcome

    return middleware
