"""Dead letters as data: what is read of their headers, which are meant, and what a replay sends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from beamline_trio import Headers
from beamline_trio.jetstream import StoredMessage
from beamline_trio.operation.dead_letters import DeadLetterRecord, LetterFilter, replay_headers, replay_id

LETTER = [
    ("Tenant", "t1"),
    ("Tenant", "t2"),
    ("Beamline-Original-Nats-Msg-Id", "order-7"),
    ("Beamline-Original-Nats-Expected-Last-Sequence", "6"),
    ("Beamline-Original-Nats-TTL", "1h"),
    ("Beamline-Cause", "handler_error"),
    ("Beamline-Reason", "KeyError: 'price'"),
    ("Beamline-Route", "bill"),
    ("Beamline-Subject", "orders.7.created"),
    ("Beamline-Stream", "ORDERS"),
    ("Beamline-Sequence", "41"),
    ("Beamline-Deliveries", "4"),
    ("Beamline-History", "1: KeyError"),
    ("Beamline-History", "2: KeyError"),
    ("Beamline-Time", "2026-01-02T03:04:05+00:00"),
    ("Nats-Msg-Id", "ORDERS:41:bill:dlq"),
]


def letter(headers: list[tuple[str, str]] = LETTER, sequence: int = 3) -> DeadLetterRecord:
    message = StoredMessage(
        stream="DLQ", sequence=sequence, subject="dlq.orders", payload=b"{}", headers=Headers(headers)
    )
    return DeadLetterRecord.read(message)


def without(*names: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value in LETTER if name not in names]


def test_what_the_headers_say() -> None:
    """Cause, origin, deliveries and history are read by their names, in order."""
    one = letter()
    assert (one.cause, one.reason, one.route) == ("handler_error", "KeyError: 'price'", "bill")
    assert (one.subject, one.stream, one.stream_sequence, one.deliveries) == ("orders.7.created", "ORDERS", 41, 4)
    assert one.history == ("1: KeyError", "2: KeyError")
    assert (one.time, one.sequence, one.is_dead_letter) == ("2026-01-02T03:04:05+00:00", 3, True)


@given(st.lists(st.tuples(st.sampled_from([name for name, _ in LETTER]), st.text("0123456789²x ", max_size=30))))
def test_anything_can_be_read(headers: list[tuple[str, str]]) -> None:
    """A message that no router wrote, or half of one, is read too, and replayed under some id."""
    one = letter(headers)
    assert one.deliveries >= 0
    assert replay_id(one)
    assert not [name for name in replay_headers(one) if name.lower().startswith("beamline-")]


def test_a_message_that_no_router_wrote() -> None:
    """Without the subject that it came by it is no dead letter."""
    assert not letter([("Tenant", "t")]).is_dead_letter


def test_the_filter() -> None:
    """A cause is any part of cause and reason, in any case; a route is its whole name; both must hold."""
    one = letter()
    assert LetterFilter().takes(one)
    assert LetterFilter(cause="HANDLER").takes(one)
    assert LetterFilter(cause="keyerror", route="bill").takes(one)
    assert not LetterFilter(cause="timeout", route="bill").takes(one)
    assert not LetterFilter(cause="keyerror", route="bil").takes(one)


def test_a_replay_has_the_headers_of_the_original() -> None:
    """Renamed headers have their names again; the id and the expectations of the first try, and ours, are gone."""
    assert replay_headers(letter()).items() == [("Tenant", "t1"), ("Tenant", "t2"), ("Nats-TTL", "1h")]


def test_what_acts_on_the_dead_letter_itself_is_not_sent() -> None:
    """A control header of the letter's own stream is no header of the original."""
    headers = [("Nats-Rollup", "sub"), ("Nats-Sequence", "1"), ("nats-msg-id", "x"), ("Beamline-Original-", "odd")]
    assert replay_headers(letter(headers)).items() == []


def test_a_replay_has_a_fresh_id_that_does_not_change() -> None:
    """That of the original, else of the letter, else of its place; the same each time it is asked for."""
    assert replay_id(letter()) == "order-7.replay.1" == replay_id(letter())
    assert replay_id(letter(without("Beamline-Original-Nats-Msg-Id"))) == "ORDERS:41:bill:dlq.replay.1"
    assert replay_id(letter(without("Beamline-Original-Nats-Msg-Id", "Nats-Msg-Id"))) == "DLQ:3.replay.1"


@given(st.text("a.:-1 ", min_size=1).filter(lambda text: text == text.strip()), st.integers(2, 5))
def test_what_dies_again_counts_on(name: str, times: int) -> None:
    """Every replay of a message has an id that none before it had."""
    seen = [name]
    for _ in range(times):
        headers = [*without("Beamline-Original-Nats-Msg-Id"), ("Beamline-Original-Nats-Msg-Id", seen[-1])]
        seen.append(replay_id(letter(headers)))
    assert len(set(seen)) == times + 1
    assert seen[-1].endswith(f".replay.{times}")
