"""The tenants of this example, each with what a policy can say. A real one would read them from a file or a bucket."""

from __future__ import annotations

from .policy import FallbackRule, Policy, Provider, Sticky
from .tenancy import Tenant

LARGE = Provider("large", 70, expected_latency_ms=900, expected_cost=0.02)
SMALL = Provider("small", 30, expected_latency_ms=300, expected_cost=0.005)
SPARE = Provider("spare", 0, expected_latency_ms=1500, expected_cost=0.03)

TENANTS: dict[str, Tenant] = {
    "acme": Tenant(
        [
            Policy(
                policy_id="default",
                providers=[LARGE, SMALL, SPARE],
                fallbacks=[
                    FallbackRule(to="small", status="timeout", retry=0),
                    FallbackRule(to="spare", status="5xx"),
                    FallbackRule(to="small", status="429", retry=3),
                ],
            ),
            Policy(
                policy_id="sessions",
                providers=[LARGE, SMALL, SPARE],
                sticky=Sticky(session_key="user", ttl_seconds=300),
                fallbacks=[FallbackRule(to="spare")],
            ),
            Policy(policy_id="plain", providers=[LARGE, SMALL]),
            Policy(
                policy_id="rules",
                providers=[
                    Provider("painter", 1, expected_latency_ms=4000, expected_cost=1.0),
                    Provider("sketcher", 0, expected_latency_ms=2000, expected_cost=0.2),
                ],
                fallbacks=[FallbackRule(to="sketcher", message_type="image")],
            ),
            Policy(
                policy_id="score",
                providers=[
                    Provider("far", 0, expected_latency_ms=800, expected_cost=1.0),
                    Provider("near", 0, expected_latency_ms=100, expected_cost=1.5),
                    Provider("instant", 0, expected_latency_ms=5, expected_cost=9.0),
                ],
            ),
        ],
        tier="premium",
    ),
    "globex": Tenant([Policy(policy_id="only", providers=[Provider("large")])]),
}
