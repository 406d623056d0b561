"""Which provider a request gets: by weight, by session, by breaker; all in a time that the test gives."""

from __future__ import annotations

import math
import random
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.decision_router import (
    Answer,
    Desk,
    ErrorCode,
    FallbackRule,
    Policy,
    PolicyError,
    Provider,
    Refusal,
    Sticky,
    Tenancy,
    Tenant,
)
from examples.decision_router.building import assignment_id_of, deadline_ms
from examples.decision_router.policy import policies_of_tenant
from examples.decision_router.selection import draw, pick
from tests.examples._corpus import WALL_MS, encoded, open_breaker, request

SEEDS = 10_000


def desk_of(*policies: Policy, **tenancy: Any) -> Desk:
    """A desk with one tenant."""
    return Desk(Tenancy(tenants={"acme": Tenant(policies, "premium")}, **tenancy))


def decide(desk: Desk, number: int, now: float = 0.0, **fields: Any) -> Answer:
    return desk.decide(encoded(request(number, **fields)), now, WALL_MS)


def provider_of(answer: Answer) -> str:
    return answer.response.decision.provider_id


def result(answer: Answer, status: str = "success", **fields: Any) -> bytes:
    """The result of an assignment."""
    assignment = answer.assignment
    assert assignment is not None
    return encoded(
        {"assignment_id": assignment.assignment_id, "request_id": assignment.request_id, "status": status,
         "provider_id": assignment.executor.provider_id, "job": {"type": assignment.job.type}, "latency_ms": 100,
         "cost": 0.01, **fields}
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------------- weights


def test_weights_are_kept_within_three_sigma() -> None:
    """Over 10,000 seeds, each provider is chosen as often as its weight says, give or take three sigma."""
    providers = [Provider("a", 50), Provider("b", 30), Provider("c", 15), Provider("d", 5), Provider("e", 0)]
    counts = dict.fromkeys((provider.name for provider in providers), 0)
    for seed in range(SEEDS):
        request_id = str(uuid.UUID(int=random.Random(seed).getrandbits(128), version=4))
        counts[pick(providers, draw(request_id, 0)).name] += 1
    for provider in providers:
        share = provider.weight / 100
        sigma = math.sqrt(SEEDS * share * (1 - share))
        assert abs(counts[provider.name] - SEEDS * share) <= 3 * sigma, counts


def test_what_is_drawn_anew_keeps_the_weights_too() -> None:
    """Without the provider that was drawn first, the others are drawn by their weights, within three sigma."""
    left = [Provider("b", 30), Provider("c", 10)]
    counts = {"b": 0, "c": 0}
    first = 0
    for seed in range(SEEDS):
        request_id = str(uuid.UUID(int=random.Random(seed).getrandbits(128), version=4))
        if draw(request_id, 0) < 0.6:  # a provider with 60 of 100
            first += 1
            counts[pick(left, draw(request_id, 1)).name] += 1
    assert abs(counts["b"] - 0.75 * first) <= 3 * math.sqrt(first * 0.75 * 0.25), counts


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.floats(0, 1, exclude_max=True))
def test_nobody_without_weight_is_drawn(weights: list[float], drawn: float) -> None:
    """Whatever the weights and the draw, rounding included, the one that is drawn has a weight."""
    providers = [Provider(str(number), weight) for number, weight in enumerate(weights)]
    if any(weight > 0 for weight in weights):
        assert pick(providers, drawn).weight > 0


def test_a_request_draws_the_same_on_every_instance() -> None:
    """The choice follows from the request's id alone."""
    policy = Policy(policy_id="p", providers=[Provider("a"), Provider("b"), Provider("c")])
    first, second = desk_of(policy), desk_of(policy)
    for number in range(50):
        assert decide(first, number, push_assignment=True) == decide(second, number, push_assignment=True)
    assert {provider_of(decide(first, number, push_assignment=True)) for number in range(50)} == {"a", "b", "c"}


# --------------------------------------------------------------------------------------------------------- sticky

SESSIONS = Policy(
    policy_id="p", providers=[Provider(name) for name in "abcd"], sticky=Sticky(session_key="user", ttl_seconds=300)
)


def test_a_session_keeps_its_provider_for_its_time() -> None:
    """Until the very moment that it was told, and not longer however often it is used; then it is drawn anew."""
    desk = desk_of(SESSIONS)
    first = decide(desk, 0, metadata={"user": "u"})
    assert first.response.decision.reason == "weighted"
    assert first.response.decision.expires_at_ms == WALL_MS + 300_000
    for number, now in enumerate((1.0, 100.0, 200.0, 299.999), start=1):
        answer = decide(desk, number, now, metadata={"user": "u"})
        assert (provider_of(answer), answer.response.decision.reason) == (provider_of(first), "sticky")
        assert answer.response.decision.priority == 100
    drawn = decide(desk, 5, 300.0, metadata={"user": "u"})
    assert drawn.response.decision.reason == "weighted"
    alone = desk_of(SESSIONS)
    assert provider_of(drawn) == provider_of(decide(alone, 5))


def test_sessions_are_of_a_tenant_a_policy_and_a_key() -> None:
    """What one of them keeps is nothing to another; a number is a session as a text is."""
    other = Policy(policy_id="q", providers=[Provider("x")], sticky=Sticky(session_key="user"))
    desk = Desk(Tenancy(tenants={"acme": Tenant([SESSIONS, other]), "globex": Tenant([SESSIONS])}))
    decide(desk, 0, metadata={"user": "u"})
    others: list[dict[str, Any]] = [
        {"metadata": {"user": "v"}},
        {"metadata": {"user": 7}},
        {"metadata": {"user": "u"}, "policy_id": "q"},
        {"metadata": {"user": "u"}, "tenant_id": "globex"},
    ]
    for number, fields in enumerate(others, start=1):
        assert decide(desk, number, 1.0, **fields).response.decision.reason == "weighted"
    assert decide(desk, 9, 2.0, metadata={"user": "7"}).response.decision.reason == "sticky"


def test_a_session_that_does_not_fit_keeps_its_provider() -> None:
    """A request whose constraints the session's provider breaks is served by another, at the price of the session."""
    policy = Policy(
        policy_id="p",
        providers=[Provider("dear", 1, expected_cost=5), Provider("cheap", 0.000001, expected_cost=1)],
        sticky=Sticky(session_key="user"),
    )
    desk = desk_of(policy)
    assert provider_of(decide(desk, 0, metadata={"user": "u"})) == "dear"
    answer = decide(desk, 1, 1.0, metadata={"user": "u"}, constraints={"max_cost": 2})
    assert (provider_of(answer), answer.response.decision.reason) == ("cheap", "weighted")


def test_a_disabled_session_is_none() -> None:
    """A sticky policy that is switched off draws by weight each time, and tells no session."""
    policy = Policy(policy_id="p", providers=[Provider("a")], sticky=Sticky(session_key="user", enabled=False))
    desk = desk_of(policy)
    for number in range(2):
        decision = decide(desk, number, metadata={"user": "u"}).response.decision
        assert (decision.reason, decision.sticky_key, decision.expires_at_ms) == ("weighted", None, None)


# -------------------------------------------------------------------------------------------------------- breakers

PAIR = Policy(policy_id="p", providers=[Provider("a"), Provider("b")])


def test_a_provider_that_fails_is_left_alone_and_tried_again() -> None:
    """Five failures in a row: nobody gets it for 60 s; then three at once, and two successes make it whole."""
    desk = desk_of(Policy(policy_id="p", providers=[Provider("a")]))
    for number in range(5):
        desk.workers.take_result(result(decide(desk, number, push_assignment=True), "error"), 0.0, WALL_MS)
    with pytest.raises(Refusal) as refused:
        decide(desk, 10, 59.0, push_assignment=True)
    assert refused.value.code is ErrorCode.DECISION_FAILED
    trials = [decide(desk, number, 60.0, push_assignment=True) for number in (11, 12, 13)]
    with pytest.raises(Refusal):
        decide(desk, 14, 60.0, push_assignment=True)
    for trial in trials[:2]:
        desk.workers.take_result(result(trial), 61.0, WALL_MS)
    assert [provider_of(decide(desk, number, 61.0, push_assignment=True)) for number in range(20, 30)] == ["a"] * 10


def test_a_trial_whose_result_never_comes_makes_room() -> None:
    """A job that is overdue says nothing about its provider, for its result may have come to another instance."""
    desk = desk_of(Policy(policy_id="p", providers=[Provider("a")]))
    open_breaker(desk, "acme", "a", "error", 0.0)
    for number in range(3):
        decide(desk, number, 60.0, push_assignment=True)
    with pytest.raises(Refusal):
        decide(desk, 3, 70.3, push_assignment=True)
    assert provider_of(decide(desk, 4, 70.4, push_assignment=True)) == "a"  # 2 attempts of 5 s, 0.2 s behind each


def test_a_decision_without_a_job_takes_no_trial() -> None:
    """Who only asks uses nothing of a breaker that is half open."""
    desk = desk_of(Policy(policy_id="p", providers=[Provider("a")]))
    open_breaker(desk, "acme", "a", "error", 0.0)
    assert [provider_of(decide(desk, number, 60.0)) for number in range(10)] == ["a"] * 10


def test_breakers_are_of_a_tenant_and_a_provider() -> None:
    """What one tenant's jobs have opened is closed for another, and for another provider."""
    desk = Desk(Tenancy(tenants={"acme": Tenant([PAIR], "premium"), "globex": Tenant([PAIR], "premium")}))
    open_breaker(desk, "acme", "a", "error", 0.0)
    assert {provider_of(decide(desk, number)) for number in range(20)} == {"b"}
    assert {provider_of(decide(desk, number, tenant_id="globex")) for number in range(100, 120)} == {"a", "b"}


def test_a_slow_success_is_a_failure() -> None:
    """A result that took 5 s counts against its provider, and is charged as a success."""
    desk = desk_of(Policy(policy_id="p", providers=[Provider("a")]))
    for number in range(5):
        answer = decide(desk, number, push_assignment=True)
        assert desk.workers.take_result(result(answer, latency_ms=5000), 0.0, WALL_MS).status == "success"
    with pytest.raises(Refusal):
        decide(desk, 9)


def test_what_was_cancelled_says_nothing_bad() -> None:
    """Cancelled jobs open no breaker."""
    desk = desk_of(Policy(policy_id="p", providers=[Provider("a")]))
    for number in range(20):
        desk.workers.take_result(result(decide(desk, number, push_assignment=True), "cancelled"), 0.0, WALL_MS)
    assert provider_of(decide(desk, 99)) == "a"


def test_a_provider_that_no_policy_has_is_not_kept_count_of() -> None:
    """Results may name anything: what no policy of the tenant has makes no breaker, and is counted."""
    desk = desk_of(PAIR)
    told = {"request_id": "11111111-1111-4111-8111-111111111111", "status": "error", "tenant_id": "acme"}
    told["assignment_id"] = assignment_id_of(told["request_id"])
    message = {**told, "provider_id": "z", "job": {"type": "chat"}, "latency_ms": 1, "cost": 0}
    desk.workers.take_result(encoded(message), 0.0, WALL_MS)
    assert desk.workers.told["unknown_provider"] == 1
    assert len(desk.providers.breakers) == 0


# -------------------------------------------------------------------------------------------- expectations, ids


def test_results_are_what_is_expected_next() -> None:
    """Successes move what a provider is expected to take and cost; failures do not, nor does the same one twice."""
    desk = desk_of(Policy(policy_id="p", providers=[Provider("a", expected_latency_ms=1000, expected_cost=1)]))
    answer = decide(desk, 0, push_assignment=True)
    for _ in range(2):
        desk.workers.take_result(result(answer, latency_ms=500, cost=2), 0.0, WALL_MS)
    desk.workers.take_result(result(decide(desk, 1, push_assignment=True), "error", latency_ms=9), 0.0, WALL_MS)
    decision = decide(desk, 2).response.decision
    assert (decision.expected_latency_ms, decision.expected_cost) == pytest.approx((900, 1.2))


@pytest.mark.parametrize("expected, deadline", [(0, 5000), (1000, 5000), (1001, 5005), (12_000, 60_000), (1e9, 60_000)])
def test_a_deadline_is_five_times_what_is_expected(expected: float, deadline: int) -> None:
    """From 5 to 60 seconds."""
    assert deadline_ms(expected) == deadline


def test_a_request_that_comes_again_makes_the_same_assignment() -> None:
    """Its answer and its assignment are the same to the letter, whatever has happened meanwhile."""
    desk = desk_of(PAIR)
    first = decide(desk, 0, push_assignment=True, metadata={"x": 1})
    open_breaker(desk, "acme", provider_of(first), "error", 1.0)
    assert decide(desk, 0, 2.0, metadata={"x": 1}, push_assignment=True) == first
    assert sum(desk.decided.values()) == 1


# --------------------------------------------------------------------------------------------------------- quotas


def policy(providers: int = 1, **fields: Any) -> Policy:
    """A policy with so many providers: 0, 1, 2, ..."""
    usual: dict[str, Any] = {"policy_id": "p", "providers": [Provider(str(number)) for number in range(providers)]}
    return Policy(**(usual | fields))


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: policies_of_tenant([policy(policy_id=str(number)) for number in range(11)]), "11 policies"),
        (lambda: policy(21), "21 providers"),
        (lambda: policy(fallbacks=[FallbackRule(to="0")] * 51), "51 fallback"),
        (lambda: policy(0), "no provider"),
        (lambda: Policy(policy_id="p", providers=[Provider("a"), Provider("a")]), "twice"),
        (lambda: policy(fallbacks=[FallbackRule(to="b")]), "goes to 'b'"),
        (lambda: policies_of_tenant([PAIR, PAIR]), "same policy_id"),
        (lambda: Provider("a", -1), "weight"),
        (lambda: Provider("a", math.nan), "weight"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(make: Any, text: str) -> None:
    """Quotas (10 policies, 50 rules, 20 providers) and contradictions are told when the policy is made."""
    with pytest.raises(PolicyError, match=text):
        make()


def test_the_quotas_themselves_are_allowed() -> None:
    """10 policies, each with 20 providers and 50 rules."""
    policies = [policy(20, policy_id=str(number), fallbacks=[FallbackRule(to="7")] * 50) for number in range(10)]
    assert len(policies_of_tenant(policies)) == 10
