"""No text that a program hands to a call becomes an operation of its own: a spy on everything never sees one.

The calls are found by looking at the public interface, so one that is new is called too, or fails here until somebody
says how it is called.
"""

from __future__ import annotations

from typing import Final

import hypothesis
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests._memory import ToyServer, opened
from tests._toy_server import Operation

from ._hostile import FRAMES, MARK, SEPARATORS, texts
from ._stage import OBJECTS, OPENERS, USES, operations_of, ordinary_shape, shape, was_refused
from ._surface import NO_CALLS, NO_WRITERS, NOT_MADE, Place, exported, places

PLACES: Final = [place for place in places() if place.call not in OPENERS]


def test_the_surface_is_seen() -> None:
    """Looking at the interface finds the calls that everybody knows, and what is left out still exists."""
    found = {str(place) for place in places()}
    assert {
        "Client.publish.subject",
        "Client.publish.reply",
        "Client.publish.headers",
        "Client.publish_nowait.subject",
        "Client.subscribe.queue_group",
        "Client.request.subject",
        "Client.request_many.headers",
        "Client.serve.queue_group",
        "Message.respond.headers",
        "Router.route.subject",
        "JetStream.publish.message_id",
        "JetStream.create_stream.config.name",
        "JetStream.__init__.domain",
        "Bucket.put.key",
        "create_bucket.config.bucket",
        "KVIdempotence.claim.key",
        "KVIdempotence.open.bucket",
        "serve_discovery.service.name",
    } <= found
    assert set(NO_WRITERS) | set(NOT_MADE) <= set(exported())
    for name in NO_CALLS:
        owner, _, call = name.partition(".")
        assert hasattr(exported()[owner], call) if call else owner in exported(), name


def test_every_class_with_calls_can_be_called() -> None:
    """Each class that takes text in a method has a way to get an object of it."""
    called = {place.owner for place in PLACES if place.owner and place.call != "__init__"}
    assert called <= set(OBJECTS), f"say in OBJECTS how to get one of {sorted(called - set(OBJECTS))}"
    made = {place.owner for place in PLACES if place.call == "__init__"}
    assert made <= set(USES), (
        f"say in USES what a new one does, or in NOT_MADE who makes it: {sorted(made - set(USES))}"
    )


def sees_injection(operations: list[Operation]) -> bool:
    """Whether something went to the mark: as a subject, a queue group, a sid, or the name of a header."""
    mark = MARK.encode()
    return any(mark in one.args or (one.header or b"").count(b"\n" + mark + b":") for one in operations)


# Each example is some twenty calls on one client.
@hypothesis.settings(max_examples=max(1, hypothesis.settings().max_examples // 20))
@pytest.mark.parametrize("place", PLACES, ids=str)
@given(st.lists(texts, min_size=10, max_size=30))
def test_no_text_is_an_operation(place: Place, hostile: list[str]) -> None:
    """Each text is refused before a byte is sent, or the server reads what it reads of an ordinary call: the same
    operations, with as many arguments and header lines; and the text is where it belongs.
    """

    async def main() -> None:
        server = ToyServer()
        async with opened(server, operation_timeout_seconds=0.2) as nc:
            ordinary = await ordinary_shape(server, nc, place)
            for text in hostile:
                seen, raised = await operations_of(server, nc, place, text)
                assert shape(seen) == ordinary or (raised and was_refused(place, seen)), text
                assert not sees_injection(seen), text
            assert nc.stats().lost == 0
            server.complaints[:] = [one for one in server.complaints if "publish to" not in one]

    trio.run(main, clock=MockClock(autojump_threshold=0))


# Thousands of calls; the code that they run is run by the tests of what they call.
@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_each_piece_in_each_place(place: Place, autojump_clock: MockClock) -> None:
    """Every frame and separator alone, in front, inside and behind, in every place."""
    server = ToyServer()
    async with opened(server, operation_timeout_seconds=0.2) as nc:
        ordinary = await ordinary_shape(server, nc, place)
        for piece in (*FRAMES, *SEPARATORS):
            for text in (piece, f"{piece}a", f"a{piece}", f"a{piece}b", f"a.{piece}.b", piece * 2):
                seen, raised = await operations_of(server, nc, place, text)
                assert shape(seen) == ordinary or (raised and was_refused(place, seen)), text
                assert not sees_injection(seen), text
        assert nc.stats().lost == 0
