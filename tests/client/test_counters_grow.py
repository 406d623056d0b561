"""Counters only grow, and count what the server counts: withdrawn publishes, skipped messages, refused inboxes."""

from __future__ import annotations

from functools import partial

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import Client, NatsError, PermissionsError, ProtocolError, Statistics
from tests._memory import ToyServer, lose_link, opened

GAUGES = {"requests_inflight", "pending_operations", "pending_bytes", "subscriptions"}
GARBAGE = b"garbage\r\n\r\n"


def fallen(before: Statistics, after: Statistics) -> dict[str, object]:
    """The counters that are smaller than before, labels and buckets each by itself."""
    later = attrs.asdict(after)
    return {
        name: (value, later[name])
        for name, value in attrs.asdict(before).items()
        if name not in GAUGES
        and any(new < old for old, new in zip(_numbers(value), _numbers(later[name]), strict=True))
    }


def _numbers(value: dict[str, int] | tuple[int, ...] | float) -> list[float]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("where", ["outbox", "pending queue"])
@pytest.mark.parametrize("form", ["confirm", "request"])
async def test_a_withdrawn_operation_takes_no_counter_back(form: str, where: str, autojump_clock: MockClock) -> None:
    """Cancelled before it was written an operation leaves the ledger, and no counter falls."""
    server = ToyServer()
    async with opened(server) as nc:
        await nc.flush()
        if where == "outbox":
            server.stall()
            await nc.publish("a", b"blocks the writer")
            await trio.testing.wait_all_tasks_blocked()
        else:
            await lose_link(server)
        accepted = nc.ledger().accepted
        call = partial(nc.publish, "a", b"x", confirm=True) if form == "confirm" else partial(nc.request, "a", b"x")
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                await trio.testing.wait_all_tasks_blocked()
                waiting = nc.stats()
                nursery.cancel_scope.cancel()
            assert fallen(waiting, nc.stats()) == {}
            assert nc.ledger().accepted == accepted
        server.resume()
        server.come_up()


async def test_what_is_put_back_and_withdrawn_takes_no_counter_back(autojump_clock: MockClock) -> None:
    """So it is with one that went from the outbox back to the pending queue with its link, and is cancelled there."""
    server = ToyServer()
    async with opened(server) as nc:
        server.stall()
        await nc.publish("a", b"blocks the writer")
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(nc.publish, "a", b"x", confirm=True))
            await trio.testing.wait_all_tasks_blocked()
            await lose_link(server)
            waiting = nc.stats()
            assert waiting.pending_operations == 1
            nursery.cancel_scope.cancel()
        assert fallen(waiting, nc.stats()) == {}
        assert (nc.ledger().accepted, nc.ledger().unknown) == (1, 1)
        server.resume()
        server.come_up()


@pytest.mark.parametrize("how", ["max_messages", "unsubscribe"])
@pytest.mark.parametrize("position", [0, 1, 2])
async def test_a_skipped_message_counts_towards_the_maximum(position: int, how: str, autojump_clock: MockClock) -> None:
    """The server has counted a message whose headers cannot be decoded: of three, one of them so, two are received,
    then the subscription ends, wherever the bad one was.
    """
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a", max_messages=3 if how == "max_messages" else None) as sub:
        if how == "unsubscribe":
            await sub.unsubscribe(after=3)
        await nc.flush()
        for number in range(3):
            server.publish("a", b"x", header=GARBAGE if number == position else None)
        with trio.fail_after(1):
            assert [message.payload async for message in sub] == [b"x", b"x"]
        assert (sub.delivered, nc.stats().malformed, nc.stats().subscriptions) == (3, 1, 0)
        assert server.interests == []


async def test_a_skipped_message_counts_over_a_reconnect(autojump_clock: MockClock) -> None:
    """After a lost link the server is asked for as many as are missing, the skipped one not among them."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a", max_messages=3) as sub:
        await sub.confirmed()
        server.publish("a", b"x", header=GARBAGE)
        await trio.testing.wait_all_tasks_blocked()
        server.drop()
        await trio.sleep(1)
        await nc.flush()
        for _ in range(5):
            server.publish("a", b"x")
        with trio.fail_after(1):
            assert [message.payload async for message in sub] == [b"x", b"x"]
        assert server.operations("UNSUB", link=1) == [("UNSUB", "1", "2")]


async def test_a_reply_that_cannot_be_decoded_fails_its_request_at_once(autojump_clock: MockClock) -> None:
    """The request it answers is told that the reply was malformed, not that nobody answered; others go on waiting."""
    server = ToyServer()
    errors: list[tuple[float, NatsError]] = []
    async with opened(server) as nc, nc.subscribe("a") as sub, trio.open_nursery() as nursery:

        async def ask() -> None:
            try:
                await nc.request("a", b"x")
            except NatsError as error:
                errors.append((trio.current_time(), error))

        nursery.start_soon(ask)
        first = await sub.receive()
        assert first.reply is not None
        replies: list[bytes] = []
        nursery.start_soon(_collect, nc, replies)
        second = await sub.receive()
        began = trio.current_time()
        server.publish(first.reply, b"reply", header=GARBAGE)
        await trio.testing.wait_all_tasks_blocked()
        assert [(at, type(error)) for at, error in errors] == [(began, ProtocolError)]
        assert "malformed header block" in str(errors[0][1])
        assert nc.stats().requests_inflight == 1
        await second.respond(b"good")
        await trio.testing.wait_all_tasks_blocked()
        assert replies == [b"good"]


async def _collect(nc: Client, replies: list[bytes]) -> None:
    replies.append((await nc.request("a", b"x")).payload)


async def test_a_request_that_was_told_of_a_refused_inbox_is_not_sent(autojump_clock: MockClock) -> None:
    """The server refuses the inbox before a waiting request was written: that is taken back, since its caller was told
    and nobody could get the reply.
    """
    server = ToyServer()
    server.denied_subscribe.add(b"_INBOX.>")
    async with opened(server) as nc:
        await lose_link(server)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(PermissionsError):
                    await nc.request("service", b"not sent")

            for _ in range(20):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            server.come_up()
        told = len(server.payloads)
        await nc.publish("a", b"sent", confirm=True)
        assert server.payloads[told:] == [b"sent"]
        assert nc.stats().requests_inflight == 0
        assert nc.ledger().open == 0
