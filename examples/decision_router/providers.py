"""How a tenant's providers do: whether one may be asked (a breaker each), how it failed last, what to expect of it.

Each instance of the router knows what it has seen itself: what it has assigned, and the results that came to it. Must
not choose, and must not read a clock.
"""

from __future__ import annotations

import heapq
from typing import Final, TypeAlias

import attrs

from beamline_trio.router import Breaker, Breakers

from .policy import Failure, Provider
from .remembered import Remembered

Key: TypeAlias = tuple[str, str]  # tenant, provider

# A new result counts for so much of what is expected.
_SHARE: Final = 0.2


@attrs.frozen
class Expectation:
    """What a provider's next result may take and cost."""

    latency_ms: float
    cost: float


@attrs.frozen
class _Call:
    key: Key
    admitted: int


@attrs.define
class Providers:
    """All of all tenants.

    Attributes:
        breakers: one for each tenant and provider.
    """

    breakers: Breakers = attrs.field(factory=lambda: Breakers(Breaker()))
    _failures: Remembered[Key, Failure] = attrs.field(factory=lambda: Remembered(ttl_seconds=3600.0), init=False)
    _expectations: dict[Key, Expectation] = attrs.field(factory=dict[Key, Expectation], init=False)
    _calls: dict[str, _Call] = attrs.field(factory=dict[str, _Call], init=False)
    _due: list[tuple[float, str]] = attrs.field(factory=list[tuple[float, str]], init=False)

    def expected(self, tenant: str, provider: Provider) -> Expectation:
        """What its results have told, or what its policy says."""
        known = self._expectations.get((tenant, provider.name))
        return known or Expectation(provider.expected_latency_ms, provider.expected_cost)

    def last_failure(self, tenant: str, provider: str, now: float) -> Failure | None:
        """How it failed, if it did within the hour."""
        return self._failures.get((tenant, provider), now)

    def admit(self, tenant: str, provider: str, now: float) -> int | None:
        """Ask its breaker for a call: what to `begin` or `leave` it by, or None."""
        self._forget_overdue(now)
        return self.breakers.admit((tenant, provider), now)

    def leave(self, tenant: str, provider: str, admitted: int) -> None:
        """No call is made of what was admitted."""
        self.breakers.withdraw((tenant, provider), admitted)

    def begin(self, tenant: str, provider: str, admitted: int, assignment_id: str, due: float) -> None:
        """A call is under way; without a result until `due` it says nothing, for another instance may have got it."""
        self._calls[assignment_id] = _Call((tenant, provider), admitted)
        heapq.heappush(self._due, (due, assignment_id))

    def settle(
        self, tenant: str, provider: str, assignment_id: str, failure: Failure | None, seconds: float, now: float
    ) -> None:
        """A call is over, here or on another instance."""
        key = (tenant, provider)
        call = self._calls.pop(assignment_id, None)
        admitted = call.admitted if call is not None else self.breakers.admit(key, now)
        if failure is not None:
            self._failures.put(key, failure, now)
        if admitted is not None:
            self.breakers.settle(key, admitted, failed=failure is not None, seconds=seconds, now=now)

    def learn(self, tenant: str, provider: Provider, latency_ms: float, cost: float) -> None:
        """A success has taken and cost so much."""
        old = self.expected(tenant, provider)
        self._expectations[tenant, provider.name] = Expectation(
            old.latency_ms + _SHARE * (latency_ms - old.latency_ms), old.cost + _SHARE * (cost - old.cost)
        )

    def _forget_overdue(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            _, assignment_id = heapq.heappop(self._due)
            call = self._calls.pop(assignment_id, None)
            if call is not None:
                self.breakers.withdraw(call.key, call.admitted)


@attrs.define
class TenantProviders:
    """The providers of one tenant at one moment, as selection asks for them. Who is admitted last is the chosen one.

    It ends by `begin` or `leave`.
    """

    _providers: Providers
    _tenant: str
    _now: float
    _chosen: str = attrs.field(default="", init=False)
    _admitted: int = attrs.field(default=0, init=False)

    def expected(self, provider: Provider) -> Expectation:
        """What its next result may take and cost."""
        return self._providers.expected(self._tenant, provider)

    def last_failure(self, provider: Provider) -> Failure | None:
        """How it failed, if it did within the hour."""
        return self._providers.last_failure(self._tenant, provider.name, self._now)

    def admit(self, provider: Provider) -> bool:
        """Whether its breaker lets a call through."""
        admitted = self._providers.admit(self._tenant, provider.name, self._now)
        if admitted is None:
            return False
        self._chosen, self._admitted = provider.name, admitted
        return True

    def begin(self, assignment_id: str, seconds: float) -> None:
        """The chosen one is given a job, and has so long for it."""
        self._providers.begin(self._tenant, self._chosen, self._admitted, assignment_id, self._now + seconds)

    def leave(self) -> None:
        """The chosen one is given no job by this router."""
        self._providers.leave(self._tenant, self._chosen, self._admitted)
