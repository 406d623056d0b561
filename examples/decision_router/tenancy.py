"""Which tenants there are, and what each of them may: lists, the switch for assignments, policies, tiers.

Must not know clocks or messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from .errors import ErrorCode, Refusal
from .policy import Policy, Provider, policies_of_tenant
from .rates import Tier


@attrs.frozen
class Tenant:
    """A tenant: its policies (at most 10, the first is the usual one) and its tier."""

    policies: Mapping[str, Policy] = attrs.field(converter=policies_of_tenant)
    tier: Tier = "free"


def _names(names: Iterable[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


@attrs.define(kw_only=True)
class Tenancy:
    """Who may do what. Its fields may be changed while the router runs.

    Attributes:
        tenants: by id.
        decide_tenants: who may ask; None = all.
        assignment_tenants: whose jobs may be pushed to workers; None = all.
        result_tenants: whose results are taken; None = all. A result that names no tenant is nobody's on a list.
        assignments_enabled: the kill switch: False = no job is pushed, for nobody.
    """

    tenants: Mapping[str, Tenant] = attrs.field(factory=dict[str, Tenant])
    decide_tenants: frozenset[str] | None = attrs.field(default=None, converter=_names)
    assignment_tenants: frozenset[str] | None = attrs.field(default=None, converter=_names)
    result_tenants: frozenset[str] | None = attrs.field(default=None, converter=_names)
    assignments_enabled: bool = True

    def admit(self, tenant_id: str) -> None:
        """Let it ask.

        Raises:
            Refusal: TENANT_FORBIDDEN.
        """
        _require(tenant_id, self.decide_tenants, "ask for decisions")

    def admit_result(self, tenant_id: str | None) -> None:
        """Let its workers tell.

        Raises:
            Refusal: TENANT_FORBIDDEN.
        """
        _require(tenant_id, self.result_tenants, "have results")

    def admit_assignment(self, tenant_id: str) -> None:
        """Let its jobs be pushed.

        Raises:
            Refusal: unauthorized.
        """
        if not self.assignments_enabled:
            raise Refusal(
                ErrorCode.UNAUTHORIZED,
                "assignments are switched off; ask without push_assignment, or again when they are back",
                {"assignments_enabled": False},
            )
        if self.assignment_tenants is not None and tenant_id not in self.assignment_tenants:
            raise Refusal(
                ErrorCode.UNAUTHORIZED,
                f"tenant {tenant_id!r} may not have assignments pushed; ask without push_assignment",
                {"tenant_id": tenant_id},
            )

    def tier_of(self, tenant_id: str) -> Tier:
        """Its tier; a tenant that is not known has the smallest."""
        tenant = self.tenants.get(tenant_id)
        return "free" if tenant is None else tenant.tier

    def policy_of(self, tenant_id: str, policy_id: str | None) -> Policy:
        """The policy that a request names, or the tenant's first.

        Raises:
            Refusal: policy_not_found. Of another tenant's policy it is not told that it exists.
        """
        tenant = self.tenants.get(tenant_id)
        policies = {} if tenant is None else tenant.policies
        policy = next(iter(policies.values()), None) if policy_id is None else policies.get(policy_id)
        if policy is None:
            which = "no policy" if policy_id is None else f"no policy {policy_id!r}"
            details: dict[str, Any] = {"tenant_id": tenant_id}
            raise Refusal(
                ErrorCode.POLICY_NOT_FOUND,
                f"tenant {tenant_id!r} has {which}; it has {', '.join(policies) or 'none'}",
                details if policy_id is None else {**details, "policy_id": policy_id},
            )
        return policy

    def provider_of(self, tenant_id: str, provider_id: str) -> Provider | None:
        """The provider as a policy of the tenant has it; what is in none is not kept count of."""
        tenant = self.tenants.get(tenant_id)
        policies = () if tenant is None else tenant.policies.values()
        return next((policy.providers[provider_id] for policy in policies if provider_id in policy.providers), None)


def _require(tenant_id: str | None, allowed: frozenset[str] | None, what: str) -> None:
    if allowed is not None and tenant_id not in allowed:
        name = "a message without tenant_id" if tenant_id is None else f"tenant {tenant_id!r}"
        raise Refusal(ErrorCode.TENANT_FORBIDDEN, f"{name} may not {what}; ask the operator", {"tenant_id": tenant_id})
