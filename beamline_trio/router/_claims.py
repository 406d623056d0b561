"""Each key once: a delivery claims its key before the handler, and confirms it between the effects and the ack.

    new     handler, effects confirmed, key confirmed, ack; whatever else ends it, the key is released
    done    ack, and nothing else
    busy    given back, for as long as a claim can last; a last delivery waits here until its deadline

A key that cannot be claimed or confirmed holds its message as an effect does that cannot be confirmed. One that cannot
be released lapses. So the store may be away at any moment, and a message of a stream is at worst handled again.

Must not know where keys are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import trio

from ..client import Client
from ..connection import OptionsError
from ..jetstream import is_retryable
from ._admission import AlreadyDoneError, RefusedError
from ._delivery import Delivery
from ._gate import PAUSE_SECONDS, Gate
from ._guards import Teller
from ._idempotence import Claim, Idempotence, check_key
from ._middleware import CallNext
from ._outcomes import HandlerOutcome, one_line
from ._statistics import RouteCounters

# A message that is cancelled or over its deadline does not wait longer for its key to be let go.
RELEASE_SECONDS: Final = 1.0
# What the gate is told of.
_STORE: Final = "keys"
# How often it is looked whether who has claimed the key of a last delivery is done with it.
BUSY_PAUSE_SECONDS: Final = 1.0
# What a store says that may be there again soon, beside what the client itself calls so.
_AWAY: Final = (OSError, trio.BrokenResourceError, trio.TooSlowError)


# A store, or how to open it on the client of a run, as one that is in a stream needs.
IdempotenceSource: TypeAlias = Idempotence | Callable[[Client], Awaitable[Idempotence]]


class RouteClaims(Teller):
    """The keys that the deliveries of one route have claimed.

    Args:
        by: message -> key.
        router: its name, and
        name: that of the route, before each key, so that no other route's are the same.
        deadline_seconds: of the route.
        gate: of the route; None on a core route, whose messages do not wait for a store.
        counters: of the route.
    """

    def __init__(
        self,
        by: Callable[[Any], str],
        router: str,
        name: str,
        deadline_seconds: float,
        gate: Gate | None,
        counters: RouteCounters,
    ) -> None:
        super().__init__()
        self._by = by
        self._name = name
        self._scope = f"{router}.{name}"
        self._deadline_seconds = deadline_seconds
        self._gate = gate
        self._counters = counters
        self._held: dict[Delivery, str] = {}
        self._store: Idempotence

    def use(self, store: Idempotence) -> None:
        """From now on keys are kept there.

        Raises:
            OptionsError: its claims lapse while a handler may work.
        """
        if store.claim_seconds <= self._deadline_seconds:
            raise OptionsError(
                f"route {self._scope} has a deadline_seconds of {self._deadline_seconds:g}, and claims of keys lapse "
                f"after {store.claim_seconds:g} s (claim_seconds), while its handler may work; give the store a longer "
                "one"
            )
        self._store = store

    def around(self, call: CallNext) -> CallNext:
        """The same call, made where the delivery's key is new.

        It raises AlreadyDoneError or RefusedError where it is not, and what the key function or the store raises; the
        handler has not run.
        """

        async def once(delivery: Delivery) -> HandlerOutcome:
            await self._claim(delivery)
            return await call(delivery)

        return once

    async def confirm(self, delivery: Delivery) -> Exception | None:
        """Its work is done, and its effects are confirmed: None, or why its key is not.

        Cancelled, the key may be confirmed or not.
        """
        key = self._held[delivery]
        try:
            await self._insist(delivery, self._store.confirm, key)
        except Exception as error:  # noqa: BLE001  # of a store of the user's
            self._tell_error(error)
            return error
        del self._held[delivery]
        return None

    async def release(self, delivery: Delivery) -> None:
        """It has ended some other way: whoever comes next may claim its key. Never raises, and is not cancelled."""
        key = self._held.pop(delivery, None)
        if key is None:
            return
        with trio.move_on_after(RELEASE_SECONDS, shield=True) as scope:
            try:
                await self._store.release(key)
            except Exception as error:  # noqa: BLE001  # the same
                self._tell_error(error)
        if scope.cancelled_caught:
            self._tell_error(f"a key was not released within {RELEASE_SECONDS:g} s")

    async def _claim(self, delivery: Delivery) -> None:
        key = self._by(delivery.message)
        check_key(key)
        key = f"{self._scope}:{key}"
        claim = await self._insist(delivery, self._store.claim, key)
        while claim is Claim.BUSY and self._gate is not None and delivery.is_last:  # until its deadline
            await trio.sleep(BUSY_PAUSE_SECONDS)
            claim = await self._insist(delivery, self._store.claim, key)
        if claim is Claim.NEW:
            self._counters.idempotency_misses += 1
            self._held[delivery] = key
            return
        self._counters.idempotency_hits += 1
        if claim is Claim.DONE:
            raise AlreadyDoneError
        # A first delivery meets another message of its key. A later one may meet its own last try, which died with its
        # process: it should come when that claim has lapsed, and not use its deliveries up.
        delay = None if delivery.number == 1 else self._store.claim_seconds
        raise RefusedError("processing_timeout", "a message with its key is being handled elsewhere", delay)

    async def _insist(self, delivery: Delivery, ask: Callable[[str], Awaitable[Any]], key: str) -> Any:
        """Ask the store, and again while it is away, for as long as the caller is let."""
        pause = PAUSE_SECONDS
        delivery.blocked = True
        while True:
            try:
                answer = await ask(key)
            except Exception as error:
                if self._gate is None or not (isinstance(error, _AWAY) or is_retryable(error)):
                    delivery.blocked = False
                    raise
            else:
                delivery.blocked = False
                if self._gate is not None:
                    self._gate.trust(_STORE)
                return answer
            pause = await self._gate.wait_in_doubt(_STORE, pause)

    def _tell_error(self, reason: object) -> None:
        self._log(logging.WARNING, "ROUTER_IDEMPOTENCE_ERROR", route=self._name, reason=one_line(reason))
