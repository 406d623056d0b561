"""What a queue recognises of messages that come a second time."""

from __future__ import annotations

from typing import Any

from beamline_trio import JetStreamMessage
from beamline_trio.router import Delivery
from beamline_trio.router._recognition import REMEMBERED_MAX, Recognition
from beamline_trio.router._route_options import RouteOptions

OPTIONS = RouteOptions(subject="in.*", name="work", stream="IN")


class NoAcks:
    """Of a message's consumer, what is asked when it is made."""

    no_ack = False


def delivery(sequence: int, stored_at: int = 1, number: int = 1) -> Delivery:
    """So many a delivery of the message at a place, stored at a moment."""
    nothing: Any = None
    source: Any = NoAcks()
    reply = b"$JS.ACK.IN.work.%d.%d.1.%d.0" % (number, sequence, stored_at)
    return Delivery(OPTIONS, JetStreamMessage(nothing, source, 0.0, b"in.a", b"", reply, None), 0.0)


def test_what_is_here_is_known_until_it_leaves() -> None:
    """Whichever delivery of it comes; what its stream is to deliver again is new when it does, and not done."""
    known = Recognition()
    assert known.enter(delivery(1))
    assert not known.enter(delivery(1, number=2))
    for outcome in ("retried", "returned"):
        known.leave(delivery(1), outcome)
        assert not known.was_done(delivery(1, number=2))
        assert known.enter(delivery(1, number=2))
    known.leave(delivery(1), "ok")
    assert known.was_done(delivery(1, number=3))


def test_a_stream_that_is_made_again_begins_anew() -> None:
    """Its messages have the places of those that were done with before, and are none of them."""
    known = Recognition()
    assert known.enter(delivery(1, stored_at=1))
    known.leave(delivery(1, stored_at=1), "ok")
    assert not known.was_done(delivery(1, stored_at=2))
    assert known.enter(delivery(1, stored_at=2))


def test_what_is_remembered_has_a_bound() -> None:
    """Of what was done with, the oldest is forgotten."""
    known = Recognition()
    for sequence in range(1, REMEMBERED_MAX + 2):
        known.enter(delivery(sequence))
        known.leave(delivery(sequence), "ok")
    assert not known.was_done(delivery(1))
    assert known.was_done(delivery(2))
    assert known.was_done(delivery(REMEMBERED_MAX + 1))
