"""Which provider: a breaker's fallback (priority 20), sticky (100), weighted (50), fallback rules (25).

    candidate = the session's provider, else one drawn by weight
        its breaker lets a call through -> it
        else the first fallback rule for its failure and the type of task -> that
        else it is out, and another is drawn
    (where a policy gives no provider a weight, the fastest comes first, the cheapest among equals: best_score)
    none left -> the first fallback rule for the type of task -> that
    else decision_failed

The draw follows from the request's id. So a request that comes again, on whatever instance, draws the same provider.
Must not keep anything, and must not know breakers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import attrs

from .errors import ErrorCode, Refusal
from .messages import Constraints, Reason
from .policy import Failure, FallbackRule, Policy, Provider
from .providers import Expectation

PRIORITY_STICKY: Final = 100
PRIORITY_WEIGHTED: Final = 50
PRIORITY_RULE: Final = 25
PRIORITY_BREAKER: Final = 20


class Market(Protocol):
    """What selection asks about a tenant's providers."""

    def expected(self, provider: Provider) -> Expectation:
        """What its next result may take and cost."""
        ...

    def last_failure(self, provider: Provider) -> Failure | None:
        """How it failed last."""
        ...

    def admit(self, provider: Provider) -> bool:
        """Whether its breaker lets a call through. Who is admitted is chosen."""
        ...


@attrs.frozen
class Choice:
    """A provider, and how it was found."""

    provider: Provider
    priority: int
    reason: Reason
    rule: FallbackRule | None = None


def draw(request_id: str, number: int) -> float:
    """The number-th draw of a request, from 0 to less than 1."""
    digest = hashlib.sha256(f"{request_id}/{number}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def pick(providers: Sequence[Provider], drawn: float) -> Provider:
    """One of these, each as often as its weight says. At least one must have a weight."""
    left = drawn * sum(provider.weight for provider in providers)
    weighted = [provider for provider in providers if provider.weight > 0]
    for provider in weighted:
        left -= provider.weight
        if left < 0:
            return provider
    return weighted[-1]  # rounding has eaten the last weight's end


def select(
    policy: Policy, request_id: str, message_type: str, constraints: Constraints, sticky: str | None, market: Market
) -> Choice:
    """The provider for a request.

    Args:
        sticky: the provider that the request's session has, or None.

    Raises:
        Refusal: decision_failed, with what is against each provider.
    """
    fitting = {
        name: provider for name, provider in policy.providers.items() if _fits(market.expected(provider), constraints)
    }
    refused: dict[str, str] = {}

    def admit(provider: Provider) -> bool:
        if provider.name in refused:
            return False
        if market.admit(provider):
            return True
        refused[provider.name] = "its breaker is open"
        return False

    def by_rule(status: Failure | None, priority: int) -> Choice | None:
        for rule in policy.fallbacks:
            if rule.to in fitting and rule.matches(status, message_type) and admit(fitting[rule.to]):
                return Choice(fitting[rule.to], priority, "fallback", rule)
        return None

    by_score = not any(provider.weight for provider in policy.providers.values())
    for provider, priority, reason in _candidates(fitting, request_id, sticky, market, refused, by_score=by_score):
        if admit(provider):
            return Choice(provider, priority, reason)
        instead = by_rule(market.last_failure(provider), PRIORITY_BREAKER)
        if instead is not None:
            return instead
    last = by_rule(None, PRIORITY_RULE)
    if last is not None:
        return last
    against: dict[str, Any] = {name: refused.get(name, "only by a fallback rule") for name in fitting}
    against.update((name, "over the constraints") for name in policy.providers if name not in fitting)
    raise Refusal(
        ErrorCode.DECISION_FAILED,
        f"no provider of policy {policy.policy_id!r} can do it: "
        + ", ".join(f"{name}: {why}" for name, why in against.items()),
        {"policy_id": policy.policy_id, "providers": against},
    )


def _candidates(
    fitting: dict[str, Provider],
    request_id: str,
    sticky: str | None,
    market: Market,
    refused: dict[str, str],
    *,
    by_score: bool,
) -> Iterator[tuple[Provider, int, Reason]]:
    """Whom to try, one by one; who was refused meanwhile is not drawn."""
    if sticky is not None and sticky in fitting:
        yield fitting[sticky], PRIORITY_STICKY, "sticky"
    if by_score:
        for provider in sorted(fitting.values(), key=lambda one: attrs.astuple(market.expected(one))):
            yield provider, PRIORITY_WEIGHTED, "best_score"
        return
    number = 0
    while left := [one for name, one in fitting.items() if one.weight and name not in refused]:
        yield pick(left, draw(request_id, number)), PRIORITY_WEIGHTED, "weighted"
        number += 1


def _fits(expected: Expectation, constraints: Constraints) -> bool:
    latency, cost = constraints.max_latency_ms, constraints.max_cost
    return (latency is None or expected.latency_ms <= latency) and (cost is None or expected.cost <= cost)
