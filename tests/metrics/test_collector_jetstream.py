"""The series of JetStream: each number under its own name, and the sums that are made of several."""

from __future__ import annotations

import trio

from beamline_trio.jetstream._attachment import attachment_of
from beamline_trio.metrics import Collector
from tests.metrics._clients import make_client, scrape, value


async def test_jetstream_that_is_not_used_shows_zeros() -> None:
    """The series are there before JetStream is, and reading them makes nothing."""
    client, collector = make_client(), Collector()
    collector.add(client)
    assert value(collector, "nats_publish_with_ack_total") == 0
    assert value(collector, "nats_publish_with_ack_failures_total", reason="api_error") == 0
    assert client.attachments == {}


async def test_publishes_with_ack_show_their_numbers() -> None:
    """Totals, failures by reason, latency together with that of confirmed publishes, and the waits before retries."""
    client, collector = make_client(), Collector()
    collector.add(client)
    counters = attachment_of(client).counters
    counters.publishes = 7
    counters.publish_failures["api_error"] = 2
    counters.publish_latency.observe(0.25)
    counters.publish_retry_delay.observe(1.0)
    client.connection.counters.confirm_latency.observe(0.5)
    assert value(collector, "nats_publish_with_ack_total") == 7
    assert value(collector, "nats_publish_with_ack_failures_total", reason="api_error") == 2
    assert value(collector, "nats_publish_latency_seconds_count") == 2
    assert value(collector, "nats_publish_latency_seconds_sum") == 0.75
    assert value(collector, "nats_publish_retry_delay_seconds_sum") == 1.0


async def test_attempts_add_up() -> None:
    """Success and failure are ends of calls, retry what came before them; confirmed publishes are among them."""
    client, collector = make_client(), Collector()
    collector.add(client)
    counters = attachment_of(client).counters
    counters.publish_acks, counters.publish_retries, counters.publish_failures["timeout"] = 5, 4, 1
    client.connection.counters.confirmed_publishes = 10
    client.connection.counters.confirmed_publish_failures["permission"] = 2
    shown = {status: value(collector, "nats_publish_attempts_total", status=status) for status in
             ("success", "failure", "retry")}  # fmt: skip
    assert shown == {"success": 15, "failure": 3, "retry": 4}


async def test_every_reason_has_its_type_of_error() -> None:
    """Each failed publish is in exactly one type, and none of today's reasons is of an unknown one."""
    client, collector = make_client(), Collector()
    collector.add(client)
    counters = attachment_of(client).counters
    for reasons in (counters.publish_failures, client.connection.counters.confirmed_publish_failures):
        for reason in reasons:
            reasons[reason] = 1
    by_type = {
        dict(labels)["error_type"]: number
        for (name, labels), number in scrape(collector).items()
        if name == "router_nats_publish_errors_total"
    }
    total = len(counters.publish_failures) + len(client.connection.counters.confirmed_publish_failures)
    assert sum(by_type.values()) == total
    assert by_type["unknown"] == 0
    assert min(count for kind, count in by_type.items() if kind != "unknown") > 0


async def test_acks_naks_and_redeliveries_show_their_numbers() -> None:
    """Each under its own name and reason; an expired ack is shown at once, to any thread, and stays as it is."""
    client, collector = make_client(), Collector()
    collector.add(client)
    attachment = attachment_of(client)
    counters = attachment.counters
    counters.acks, counters.naks = 9, 8
    counters.nak_failures["permission"], counters.redeliveries["backoff"] = 7, 6
    counters.max_deliver_exhausted["handler_error"] = 5
    attachment.acks.put(b"$JS.ACK.a", b"+ACK", trio.current_time() - 1)
    for _ in range(2):
        shown = await trio.to_thread.run_sync(scrape, collector)
        numbers = {(name, *(pair[1] for pair in labels if pair[0] != "client")): number
                   for (name, labels), number in shown.items()}  # fmt: skip
        assert numbers["router_nats_ack_total",] == 10
        assert numbers["router_nats_nak_total",] == 8
        assert numbers["router_nats_ack_failures_total", "expired"] == 1
        assert numbers["router_nats_nak_failures_total", "permission"] == 7
        assert numbers["router_jetstream_redelivery_total", "backoff", "consumer"] == 6
        assert numbers["router_jetstream_redelivery_total", "ack_error", "consumer"] == 1
        assert numbers["router_jetstream_maxdeliver_exhausted_total", "handler_error"] == 5
    assert counters.ack_failures["expired"] == 0


async def test_keep_alive_pings_show_how_they_ended() -> None:
    """Answered or missed."""
    client, collector = make_client(), Collector()
    collector.add(client)
    client.connection.counters.pings_answered, client.connection.counters.pongs_missed = 3, 1
    assert value(collector, "nats_health_check_total", status="success") == 3
    assert value(collector, "nats_health_check_total", status="failure") == 1
