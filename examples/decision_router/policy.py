"""What a tenant wants of its providers, and the quotas that its policies keep.

A policy is data; choosing by it is selection.py's. Must not know requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias, get_args

import attrs

Failure: TypeAlias = Literal["timeout", "5xx", "429"]
FAILURES: Final[tuple[str, ...]] = get_args(Failure)

POLICIES_MAX: Final = 10
RULES_MAX: Final = 50
PROVIDERS_MAX: Final = 20


class PolicyError(ValueError):
    """A policy that cannot be: a quota is exceeded, or it contradicts itself."""


@attrs.frozen
class Provider:
    """One that can do tasks.

    Attributes:
        name: its id.
        weight: its share among the others; 0 = only by fallback, or by score where all weights are 0.
        expected_latency_ms: assumed until its results have told.
        expected_cost: assumed until its results have told.
    """

    name: str
    weight: float = 1.0
    expected_latency_ms: float = attrs.field(default=1000.0, kw_only=True)
    expected_cost: float = attrs.field(default=0.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Refuse a weight that cannot be."""
        if not 0 <= self.weight <= 1e6:
            raise PolicyError(f"the weight of provider {self.name!r} is {self.weight!r}; it must be from 0 to 1000000")


@attrs.frozen(kw_only=True)
class Sticky:
    """A session keeps its provider.

    Attributes:
        session_key: the field of a request's metadata that tells sessions apart.
        ttl_seconds: counted from the choice; use does not prolong it, so that weights take hold again.
    """

    session_key: str
    ttl_seconds: float = 3600.0
    enabled: bool = True


@attrs.frozen(kw_only=True)
class FallbackRule:
    """Whom to take instead.

    Attributes:
        to: a provider of the policy.
        status: of the failure that has opened the breaker; None = any, and also where nothing has failed.
        message_type: of the task; None = any.
        retry: further attempts that the worker may make; None = as usual.
    """

    to: str
    status: Failure | None = None
    message_type: str | None = None
    retry: int | None = None

    def matches(self, status: Failure | None, message_type: str) -> bool:
        """Whether it is for this failure (None: there was none) and this type of task."""
        return self.status in {None, status} and self.message_type in {None, message_type}


def _provider_map(providers: Iterable[Provider]) -> dict[str, Provider]:
    listed = list(providers)
    by_name = {provider.name: provider for provider in listed}
    if len(by_name) < len(listed):
        raise PolicyError("a provider is named twice in one policy; add their weights up")
    return by_name


def _rules(rules: Iterable[FallbackRule]) -> tuple[FallbackRule, ...]:
    return tuple(rules)


@attrs.frozen(kw_only=True)
class Policy:
    """How a tenant's tasks are spread.

    Attributes:
        policy_id: of this tenant.
        providers: by name, in the order given.

    Raises:
        PolicyError: no provider, one named twice, more than 20; more than 50 rules; a rule to an unknown provider.
    """

    policy_id: str
    providers: Mapping[str, Provider] = attrs.field(converter=_provider_map)
    sticky: Sticky | None = None
    fallbacks: tuple[FallbackRule, ...] = attrs.field(default=(), converter=_rules)

    def __attrs_post_init__(self) -> None:
        """Refuse what exceeds a quota, or names what is not there."""
        if not self.providers:
            raise PolicyError(f"policy {self.policy_id!r} has no provider; give it at least one")
        _check_quota(len(self.providers), PROVIDERS_MAX, f"providers in policy {self.policy_id!r}")
        _check_quota(len(self.fallbacks), RULES_MAX, f"fallback rules in policy {self.policy_id!r}")
        for rule in self.fallbacks:
            if rule.to not in self.providers:
                known = ", ".join(self.providers)
                raise PolicyError(f"a fallback of policy {self.policy_id!r} goes to {rule.to!r}; it has {known}")


def policies_of_tenant(policies: Iterable[Policy]) -> dict[str, Policy]:
    """A tenant's policies by id; the first is the one of requests that name none.

    Raises:
        PolicyError: more than 10, or an id twice.
    """
    listed = list(policies)
    _check_quota(len(listed), POLICIES_MAX, "policies of one tenant")
    by_id = {policy.policy_id: policy for policy in listed}
    if len(by_id) < len(listed):
        raise PolicyError("two policies of one tenant have the same policy_id; give each its own")
    return by_id


def _check_quota(count: int, most: int, what: str) -> None:
    if count > most:
        raise PolicyError(f"there are {count} {what}, the most is {most}; take some away")
