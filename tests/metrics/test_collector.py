"""The collector: what it shows of clients and routers, under which label, and what stays of those that are gone."""

from __future__ import annotations

import gc
import threading
import weakref

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from beamline_trio import Message, Router, State, Statistics
from beamline_trio.metrics import Collector
from beamline_trio.metrics._accounts import CLIENTS_PER_NAME_MAX, LABELS_MAX
from beamline_trio.router import OUTCOMES, Breaker, Route
from beamline_trio.router._guards import RouteBreaker
from tests.metrics._clients import labels_shown, make_client, scrape, value


def make_router(*names: str) -> Router:
    router = Router("r")

    async def handler(message: Message) -> bytes | None:
        return None

    for name in names:
        router.route(f"a.{name}", name=name)(handler)
    return router


def count(route: Route, outcome: str, seconds: float) -> None:
    route.counters.take(1)
    route.counters.end(outcome, seconds)


async def test_the_status_is_one_a_half_or_zero() -> None:
    """Connected is 1; an attempt under way is 0.5; waiting, exhausted and closed are 0."""
    client, collector = make_client(), Collector()
    collector.add(client)
    connection = client.connection
    for state, attempting, expected in (
        (State.DISCONNECTED, False, 0),
        (State.CONNECTING, True, 0.5),
        (State.CONNECTED, False, 1),
        (State.RECONNECTING, False, 0),
        (State.RECONNECTING, True, 0.5),
        (State.EXHAUSTED, False, 0),
        (State.CLOSED, False, 0),
    ):
        connection.state, connection.attempting = state, attempting
        assert value(collector, "nats_connection_status") == expected, state


async def test_every_series_shows_its_own_number() -> None:
    """Each number of the books is under its own name and no other: all of them are different here."""
    client, collector = make_client(), Collector()
    collector.add(client)
    connection = client.connection
    counters = connection.counters
    counters.established, counters.lost, counters.restored, counters.connect_failures = 101, 102, 103, 104
    counters.reconnect_attempts, counters.exhausted, counters.subscribes = 105, 106, 107
    counters.pending_retried, counters.slow_consumer = 108, 109
    connection.losses.expired, connection.queued, connection.outbox.coverage.unknown = 110, 111, 112
    counters.reconnect_failures["dns"] = 113
    counters.publish_failures["permission"] = 114
    counters.subscribe_failures["timeout"] = 115
    counters.pending_dropped["error"] = 116
    counters.pending_retry_success, counters.pending_retry_failed = 117, 118
    expected = {
        "nats_connection_established_total": 101,
        "nats_connection_lost_total": 102,
        "nats_connection_restored_total": 103,
        "nats_connection_failures_total": 104,
        "nats_reconnect_attempts_total": 105,
        "nats_reconnection_exhausted_total": 106,
        "nats_subscribe_total": 107,
        "nats_pending_operations_retry_total": 108,
        "nats_pending_operations_retry_success_total": 117,
        "nats_pending_operations_retry_failed_total": 118,
        "nats_slow_consumer_total": 109,
        "nats_pending_operations_expired_total": 110,
        "nats_publish_total": 111,
        "nats_unknown_operations_count": 112,
    }
    for name, number in expected.items():
        assert value(collector, name) == number, name
    assert value(collector, "nats_reconnect_failures_total", reason="dns") == 113
    assert value(collector, "nats_publish_failures_total", reason="permission") == 114
    assert value(collector, "nats_subscribe_failures_total", reason="timeout") == 115
    assert value(collector, "nats_pending_operations_dropped_total", policy="error") == 116
    assert sum(scrape(collector).values()) == sum(expected.values()) + 113 + 114 + 115 + 116


async def test_pending_operations_are_a_count_of_this_moment() -> None:
    """The series is the length of the queue, and goes down with it."""
    client, collector = make_client(), Collector()
    collector.add(client)
    connection = client.connection
    connection.state = State.RECONNECTING
    for _ in range(3):
        client.publish_nowait("a", b"x")
    assert value(collector, "nats_pending_operations_count") == 3
    list(connection.pending.take(2))
    assert value(collector, "nats_pending_operations_count") == 1


async def test_a_confirmation_is_counted_in_every_bucket_that_has_room_for_it() -> None:
    """Buckets are cumulative and their bounds inclusive; count and sum are those of all observations."""
    client, collector = make_client(), Collector()
    collector.add(client)
    for seconds in (0.0005, 0.003, 0.003, 60.0):
        client.connection.counters.confirm_latency.observe(seconds)
    bucket = "nats_publish_latency_seconds_bucket"
    assert [value(collector, bucket, le=le) for le in ("0.0005", "0.0025", "0.005", "10.0", "+Inf")] == [1, 1, 3, 3, 4]
    assert value(collector, "nats_publish_latency_seconds_count") == 4
    assert value(collector, "nats_publish_latency_seconds_sum") == pytest.approx(60.0065)


async def test_a_second_live_client_of_a_name_gets_a_number() -> None:
    """The first has the name, the next `name-2`; a label that is free again goes to the next one."""
    collector = Collector()
    clients = [make_client("a") for _ in range(3)]
    for client in clients:
        collector.add(client)
    assert labels_shown(collector) == {"a", "a-2", "a-3"}
    clients[1].connection.close()
    successor = make_client("a")
    successor.connection.counters.lost = 1
    collector.add(successor)
    assert labels_shown(collector) == {"a", "a-2", "a-3"}
    assert value(collector, "nats_connection_lost_total", "a-2") == 1


async def test_a_name_that_looks_like_a_number_of_another_is_no_conflict() -> None:
    """A client named `a-2` and the second client named `a` are two series."""
    collector = Collector()
    for name in ("a", "a-2", "a"):
        collector.add(make_client(name))
    assert labels_shown(collector) == {"a", "a-2", "a-3"}


@pytest.mark.slow
async def test_from_the_65th_on_clients_of_a_name_share_a_label() -> None:
    """However many clients a program opens, a name has 65 labels: counters are added, the lowest status and the fullest
    queue are shown.
    """
    collector = Collector()
    clients = [make_client("a") for _ in range(CLIENTS_PER_NAME_MAX + 3)]
    for client in clients:
        client.connection.state = State.CONNECTED
        client.connection.counters.lost = 1
        collector.add(client)
    assert len(labels_shown(collector)) == CLIENTS_PER_NAME_MAX + 1
    assert value(collector, "nats_connection_lost_total", "a-other") == 3
    assert value(collector, "nats_connection_status", "a-other") == 1
    clients[-1].connection.state = State.RECONNECTING
    for client, operations in zip(clients[-2:], (500, 250), strict=True):
        client.connection.pending.operations = operations
    assert value(collector, "nats_pending_operations_count", "a-other") == 750
    assert value(collector, "nats_pending_operations_ratio", "a-other") == 0.5
    assert value(collector, "nats_connection_status", "a-other") == 0
    clients[-1].connection.close()
    assert value(collector, "nats_connection_status", "a-other") == 1
    assert value(collector, "nats_connection_lost_total", "a-other") == 3


@pytest.mark.slow
async def test_a_program_with_ever_new_names_has_a_bounded_number_of_labels() -> None:
    """Beyond LABELS_MAX labels everybody is `other`, and no number is lost."""
    collector = Collector()
    for number in range(LABELS_MAX + 10):
        client = make_client(f"n{number}")
        client.connection.counters.lost = 1
        collector.add(client)
        client.connection.close()
    samples = scrape(collector)
    lost = {labels: number for (name, labels), number in samples.items() if name == "router_nats_connection_lost_total"}
    assert len(lost) == LABELS_MAX + 1
    assert lost[("client", "other"),] == 10
    assert sum(lost.values()) == LABELS_MAX + 10


async def test_the_totals_of_a_closed_client_stay() -> None:
    """Closing changes no counter and no histogram; what is about the moment is 0."""
    client, collector = make_client(), Collector()
    collector.add(client)
    connection = client.connection
    connection.state = State.CONNECTED
    connection.counters.lost = 3
    connection.outbox.coverage.unknown = 2
    connection.counters.confirm_latency.observe(0.1)
    before = scrape(collector)
    connection.close()
    after = scrape(collector)
    status = ("router_nats_connection_status", (("client", "orders"),))
    assert (before.pop(status), after.pop(status)) == (1, 0)
    assert after == before
    assert scrape(collector) == after | {status: 0}


async def test_a_client_carries_on_the_totals_of_its_name() -> None:
    """A client that is opened again under its name starts from its predecessor's numbers."""
    collector = Collector()
    for lives in (1, 2, 3):
        client = make_client()
        client.connection.counters.lost = 5
        client.connection.counters.confirm_latency.observe(0.1)
        collector.add(client)
        assert value(collector, "nats_connection_lost_total") == 5 * lives
        assert value(collector, "nats_publish_latency_seconds_count") == lives
        client.connection.close()
        assert value(collector, "nats_connection_lost_total") == 5 * lives


async def test_a_closed_client_is_let_go() -> None:
    """After the next scrape the collector holds nothing of a closed client but numbers."""
    client, collector = make_client(), Collector()
    collector.add_router(make_router("one"), client)
    reference = weakref.ref(client)
    client.connection.close()
    collector.render()
    del client
    gc.collect()
    assert reference() is None


async def test_a_counter_never_goes_back() -> None:
    """A publish that is withdrawn unwritten leaves the client's book, and stays counted as accepted."""
    client, collector = make_client(), Collector()
    collector.add(client)
    client.connection.queued = 5
    assert value(collector, "nats_publish_total") == 5
    client.connection.withdrawn = 1
    assert value(collector, "nats_publish_total") == 5
    client.connection.queued = 7
    assert value(collector, "nats_publish_total") == 7
    assert client.ledger().accepted == 6


async def test_adding_twice_is_adding_once() -> None:
    """The same client or router again is no second one."""
    client, collector, router = make_client(), Collector(), make_router("one")
    collector.add(client)
    collector.add(client)
    count(router.routes["one"], "ok", 0.01)
    collector.add_router(router, client)
    collector.add_router(router, client)
    assert labels_shown(collector) == {"orders"}
    assert value(collector, "requests_total", route="one", outcome="ok") == 1


async def test_a_route_shows_every_outcome_from_the_start() -> None:
    """Every outcome of every route is a series before anything was handled, of routes that are added later too."""
    client, collector, router = make_client(), Collector(), make_router("one")
    collector.add_router(router, client)
    router.routes.update(make_router("two").routes)
    for route in ("one", "two"):
        for outcome in OUTCOMES:
            assert value(collector, "requests_total", route=route, outcome=outcome) == 0
        assert value(collector, "request_duration_seconds_count", route=route) == 0


async def test_messages_are_counted_by_outcome_and_timed() -> None:
    """Each is counted once, and in the bucket of its bound, whether a reply was wanted or not."""
    client, collector, router = make_client(), Collector(), make_router("one")
    collector.add_router(router, client)
    (route,) = router.routes.values()
    count(route, "ok", 0.005)
    count(route, "error", 20.0)
    count(route, "ok", 3.0)
    assert value(collector, "requests_total", route="one", outcome="ok") == 2
    assert value(collector, "requests_total", route="one", outcome="error") == 1
    bucket = "request_duration_seconds_bucket"
    assert [value(collector, bucket, route="one", le=le) for le in ("0.001", "0.005", "10.0", "+Inf")] == [0, 1, 2, 3]
    assert value(collector, "request_duration_seconds_sum", route="one") == pytest.approx(23.005)


async def test_a_router_that_runs_on_one_client_after_another_counts_nothing_twice() -> None:
    """What it counted on the first client stays there, also when that one was closed before the second came."""
    collector, router = Collector(), make_router("one")
    (route,) = router.routes.values()
    for name in ("a", "b", "c"):
        client = make_client(name)
        collector.add_router(router, client)
        count(route, "ok", 0.01)
        assert value(collector, "requests_total", name, route="one", outcome="ok") == 1
        if name == "a":
            client.connection.close()
            collector.render()
    for name in ("a", "b", "c"):
        assert value(collector, "requests_total", name, route="one", outcome="ok") == 1
        assert value(collector, "request_duration_seconds_count", name, route="one") == 1


async def test_what_is_about_now_moves_with_its_router() -> None:
    """An open breaker and messages in flight are shown under the client the router runs on now, and nowhere else.

    Under the client before stay its counters.
    """
    collector, router = Collector(), make_router("one")
    (route,) = router.routes.values()
    route.breaker = RouteBreaker("one", Breaker(failures=1))
    first, second = make_client("a"), make_client("b")
    collector.add_router(router, first)
    call = route.breaker.admit(None, 0.0)
    assert call is not None
    route.breaker.settle(call, failed=True, seconds=0.0, now=0.0)
    route.counters.take(1)
    shown = ("circuit_breaker_state", "intake_inflight", "circuit_breaker_transitions_total")
    labels: tuple[dict[str, str], ...] = ({"state": "open"}, {}, {"from_state": "closed", "to_state": "open"})
    series = list(zip(shown, labels, strict=True))
    assert [value(collector, name, "a", route="one", **more) for name, more in series] == [1, 1, 1]
    collector.add_router(router, second)
    assert [value(collector, name, "b", route="one", **more) for name, more in series] == [1, 1, 0]
    left = [(labels_of, number) for (name, labels_of), number in scrape(collector).items() if name.endswith(shown[:2])]
    assert {dict(labels_of)["client"] for labels_of, _ in left} == {"b"}
    assert value(collector, shown[2], "a", route="one", **labels[2]) == 1


async def test_any_name_makes_a_label() -> None:
    """Quotes, backslashes, braces, an endless name: Prometheus can read what comes out of whatever a client accepts."""
    collector = Collector()
    for name in ('a"b\\c', '{x="1"} 2', "ä" * 10_000):
        collector.add(make_client(name))
    assert labels_shown(collector) == {'a"b\\c', '{x="1"} 2', "ä" * 128}


async def test_it_is_a_collector_of_prometheus_client() -> None:
    """It can be registered beside others, once; there is no _created series."""
    collector = Collector()
    collector.add(make_client())
    registry = CollectorRegistry()
    registry.register(collector)
    text = generate_latest(registry).decode()
    assert text == collector.render().decode()
    assert "_created" not in text
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(Collector())
    assert prometheus_client.REGISTRY is not registry


async def test_a_scrape_of_another_thread_waits_while_a_closed_client_is_folded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no moment in which a client is gone and its total not there yet."""
    client, collector = make_client(), Collector()
    client.connection.counters.lost = 1
    collector.add(client)
    client.connection.close()
    statistics = client.stats()
    seen: list[float] = []

    def read() -> None:
        seen.append(value(collector, "nats_connection_lost_total"))

    other = threading.Thread(target=read)

    def stats_while_another_scrapes() -> Statistics:
        other.start()
        other.join(0.3)  # it has to wait for us, so this is given up
        return statistics

    monkeypatch.setattr(client, "stats", stats_while_another_scrapes)
    read()
    other.join()
    assert seen == [1, 1]
