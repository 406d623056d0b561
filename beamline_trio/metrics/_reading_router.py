"""What a router and its routes have counted, in the words of the metrics contract.

A new number of a route's counters, or of the guards, gets its series here and its row in contract.toml.

Must not import prometheus_client, and must not change what it reads.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..router import BREAKER_TRANSITIONS, DURATION_BOUNDS_SECONDS, BreakerState, Route, Router
from ._series import BREAKER_STATE, INTAKE_HELD, INTAKE_INFLIGHT, Distribution, Reading


def read_router(router: Router) -> Reading:
    """A router's series at this moment."""
    reading = Reading()
    for route in router.routes.values():
        _read_route(reading, route)
        _read_breaker(reading, route)
    guards = router.guards
    for level, number in guards.meter.events.items():
        reading.numbers["router_backpressure_events_total", (router.name, level.value)] = number
    trips = 0 if guards.kill_switch is None else guards.kill_switch.trips
    reading.numbers["router_intake_pauses_total", (router.name,)] = trips
    for event, number in router.store_counts().items():
        reading.numbers["router_idempotency_store_total", (router.name, event)] = number
    return reading


def _read_route(reading: Reading, route: Route) -> None:
    counters = route.counters
    breakers = None if route.breaker is None else route.breaker.breakers
    plain: dict[str, int] = {
        INTAKE_INFLIGHT: counters.in_flight,
        INTAKE_HELD: counters.held,
        "router_tenant_overflow_total": counters.overflows,
        "router_left_out_total": counters.left_out,
        "router_replies_dropped_total": counters.replies_dropped,
        "router_idempotency_hit_total": counters.idempotency_hits,
        "router_idempotency_miss_total": counters.idempotency_misses,
        "router_circuit_breaker_refused_total": 0 if breakers is None else breakers.refused,
        "router_circuit_breaker_unguarded_total": 0 if breakers is None else breakers.unguarded,
    }
    for name, number in plain.items():
        reading.numbers[name, (route.name,)] = number
    labelled: dict[str, Mapping[str, int]] = {
        "router_requests_total": counters.outcomes,
        "router_dlq_total": counters.dead_letters,
    }
    for name, by_value in labelled.items():
        for value, number in by_value.items():
            reading.numbers[name, (route.name, value)] = number
    reading.distributions["router_request_duration_seconds", (route.name,)] = Distribution(
        DURATION_BOUNDS_SECONDS, tuple(counters.duration_counts), counters.duration_seconds
    )


def _read_breaker(reading: Reading, route: Route) -> None:
    """Zeros where a route has no breaker, so that one rule serves all routes."""
    breakers = None if route.breaker is None else route.breaker.breakers
    for state in BreakerState:
        number = 0 if breakers is None else breakers.states[state]
        reading.numbers[BREAKER_STATE, (route.name, state.value)] = number
    for before, after in BREAKER_TRANSITIONS:
        number = 0 if breakers is None else breakers.transitions[before, after]
        labels = (route.name, before.value, after.value)
        reading.numbers["router_circuit_breaker_transitions_total", labels] = number
